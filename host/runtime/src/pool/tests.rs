//! Threads, lanes, and who waits no more.

use super::*;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::Poll;
use std::time::Instant;

const LONG: Duration = Duration::from_secs(60);

/// Something that is not there yet, for jobs to wait for.
fn signal() -> (mpsc::Sender<()>, Arc<Mutex<mpsc::Receiver<()>>>) {
    let (go, gone) = mpsc::channel();
    (go, Arc::new(Mutex::new(gone)))
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_not_begun() {
    let pool = Pool::start(1, "test", 0).unwrap();
    let lane = Arc::new(Lane::new(usize::MAX));
    let (go, gone) = signal();
    let (says, ended) = mpsc::channel::<()>();
    let begun = Arc::new(AtomicUsize::new(0));
    for n in 0..3 {
        let (counted, gone, says) = (Arc::clone(&begun), Arc::clone(&gone), says.clone());
        let mut queued = Box::pin(pool.run(&lane, None, move || {
            let _says = says;
            counted.fetch_add(1, Ordering::SeqCst);
            gone.lock().unwrap().recv().unwrap();
        }));
        // It is queued when it is first polled, and dropped afterwards.
        assert!(poll_fn(|cx| Poll::Ready(queued.as_mut().poll(cx).is_pending())).await);
        while n == 0 && begun.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
    }
    drop((pool, says));
    go.send(()).unwrap();
    // The thread has dropped every job.
    assert_eq!(ended.recv_timeout(LONG), Err(mpsc::RecvTimeoutError::Disconnected));
    assert_eq!(begun.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn who_gets_no_thread_in_time_waits_no_more() {
    let pool = Pool::start(1, "test", 0).unwrap();
    let lane = Arc::new(Lane::new(usize::MAX));
    let (go, gone) = signal();
    // Longer than it may wait for a thread, but it has one.
    let runs = pool.run(&lane, Some(Duration::from_millis(50)), move || gone.lock().unwrap().recv().is_ok());
    let waits = async {
        let late = pool.run(&lane, Some(Duration::from_millis(200)), || panic!("is not begun")).await;
        go.send(()).unwrap();
        late
    };
    let (runs, waits) = tokio::join!(runs, waits);
    assert!(matches!(runs, Ok(true)));
    assert!(matches!(waits, Err(NotRun::NoThread)));
    assert!(matches!(pool.run(&lane, None, || 7).await, Ok(7)), "and is out of the way");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_job_is_forgotten_by_several_threads_and_lanes_keep_to_their_shares() {
    let pool = Arc::new(Pool::start(4, "test", 0).unwrap());
    let done = Arc::new(AtomicUsize::new(0));
    let lanes = [1, 2, usize::MAX]
        .map(|at_once| (at_once, Arc::new(Lane::new(at_once)), Arc::new(AtomicUsize::new(0))));
    let bring = |n: usize| {
        let (share, lane, running) = lanes[n % lanes.len()].clone();
        let (pool, done) = (Arc::clone(&pool), Arc::clone(&done));
        tokio::spawn(async move {
            for _ in 0..500 {
                let (done, running) = (Arc::clone(&done), Arc::clone(&running));
                let job = move || {
                    assert!(running.fetch_add(1, Ordering::SeqCst) < share);
                    thread::yield_now();
                    running.fetch_sub(1, Ordering::SeqCst);
                    done.fetch_add(1, Ordering::SeqCst)
                };
                assert!(pool.run(&lane, None, job).await.is_ok());
            }
        })
    };
    let bringing: Vec<_> = (0..12).map(bring).collect();
    for all in bringing {
        timeout(LONG, all).await.unwrap().unwrap();
    }
    assert_eq!(done.load(Ordering::SeqCst), 12 * 500);
    // The last ones end a little later than they have answered.
    let began = Instant::now();
    while pool.0.waiting().lanes.kept().0 > 0 {
        assert!(began.elapsed() < LONG, "lanes are kept");
        thread::yield_now();
    }
    assert_eq!(pool.0.waiting().lanes.kept(), (0, 0));
}

#[tokio::test]
async fn lanes_take_turns() {
    let pool = Pool::start(1, "test", 0).unwrap();
    let lanes = ["a", "b", "c"].map(|name| (name, Arc::new(Lane::new(1))));
    let (go, gone) = signal();
    let order = Arc::new(Mutex::new(String::new()));
    let job = |of: usize| {
        let ((name, lane), order, pool) = (lanes[of].clone(), Arc::clone(&order), &pool);
        // It comes when it is first polled.
        async move { assert!(pool.run(&lane, None, move || order.lock().unwrap().push_str(name)).await.is_ok()) }
    };
    let gate = Arc::new(Lane::new(1));
    let first = pool.run(&gate, None, move || gone.lock().unwrap().recv().is_ok());
    let begins = async { go.send(()).unwrap() };
    let (first, ..) = tokio::join!(first, job(0), job(0), job(0), job(1), job(2), job(1), begins);
    assert!(matches!(first, Ok(true)));
    assert_eq!(*order.lock().unwrap(), "abcaba");
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_costs_its_lane_no_turn() {
    let pool = Pool::start(1, "test", 0).unwrap();
    let (gate, lane, other) = (Lane::new(1), Lane::new(1), Lane::new(1));
    let (gate, lane, other) = (Arc::new(gate), Arc::new(lane), Arc::new(other));
    let (go, gone) = signal();
    let order = Arc::new(Mutex::new(String::new()));
    let job = |lane: &Arc<Lane>, name| {
        let (lane, order, pool) = (Arc::clone(lane), Arc::clone(&order), &pool);
        async move { assert!(pool.run(&lane, None, move || order.lock().unwrap().push_str(name)).await.is_ok()) }
    };
    let first = pool.run(&gate, None, move || gone.lock().unwrap().recv().is_ok());
    let late = async {
        for _ in 0..3 {
            let mut late = Box::pin(job(&lane, "late"));
            assert!(poll_fn(|cx| Poll::Ready(late.as_mut().poll(cx).is_pending())).await);
        }
    };
    let begins = async { go.send(()).unwrap() };
    let (first, ..) = tokio::join!(first, late, job(&other, "o"), job(&lane, "l"), job(&other, "o"), begins);
    assert!(matches!(first, Ok(true)));
    assert_eq!(*order.lock().unwrap(), "loo");
}

/// A result that panics when it is dropped.
struct Fragile;

impl Drop for Fragile {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_neither_the_thread_nor_others_jobs() {
    let pool = Pool::start(1, "test", 0).unwrap();
    let lane = Arc::new(Lane::new(1));
    assert!(matches!(pool.run(&lane, None, || panic!("on purpose")).await, Err::<(), _>(NotRun::Panicked)));
    assert!(matches!(pool.run(&lane, None, || 7).await, Ok(7)));
    let (go, gone) = signal();
    let (says, begun) = mpsc::channel();
    let mut unwanted = Box::pin(pool.run(&lane, None, move || {
        says.send(()).unwrap();
        gone.lock().unwrap().recv().unwrap();
        Fragile
    }));
    assert!(poll_fn(|cx| Poll::Ready(unwanted.as_mut().poll(cx).is_pending())).await);
    begun.recv_timeout(LONG).unwrap();
    drop(unwanted);
    go.send(()).unwrap();
    let next = timeout(LONG, pool.run(&lane, None, || 8)).await;
    assert!(matches!(next, Ok(Ok(8))));
}
