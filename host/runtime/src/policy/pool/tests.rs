//! Threads, tenants' shares of them, and who waits no more.

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
    let pool = PluginThreads::start(1, 1, "test", 0).unwrap();
    let tenant: TenantName = "acme".into();
    let (go, gone) = signal();
    let (says, ended) = mpsc::channel::<()>();
    let begun = Arc::new(AtomicUsize::new(0));
    for n in 0..3 {
        let (counted, gone, says) = (Arc::clone(&begun), Arc::clone(&gone), says.clone());
        let mut queued = Box::pin(pool.run(&tenant, None, move || {
            let _says = says;
            counted.fetch_add(1, Ordering::SeqCst);
            gone.lock().recv().unwrap();
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
    let pool = PluginThreads::start(1, 1, "test", 0).unwrap();
    let tenant: TenantName = "acme".into();
    let (go, gone) = signal();
    // Longer than it may wait for a thread, but it has one.
    let runs = pool.run(&tenant, Some(Duration::from_millis(50)), move || gone.lock().recv().is_ok());
    let waits = async {
        let late = pool.run(&tenant, Some(Duration::from_millis(200)), || panic!("is not begun")).await;
        go.send(()).unwrap();
        late
    };
    let (runs, waits) = tokio::join!(runs, waits);
    assert!(matches!(runs, Ok(true)));
    assert!(matches!(waits, Err(NotRun::NoThread)));
    assert!(matches!(pool.run(&tenant, None, || 7).await, Ok(7)), "and is out of the way");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_job_is_forgotten_by_several_threads_and_tenants_keep_to_their_shares() {
    const SHARE: usize = 2;
    let pool = Arc::new(PluginThreads::start(4, SHARE, "test", 0).unwrap());
    let done = Arc::new(AtomicUsize::new(0));
    let tenants = ["a", "b", "c"].map(|name| (TenantName::from(name), Arc::new(AtomicUsize::new(0))));
    let bring = |n: usize| {
        let (tenant, running) = tenants[n % tenants.len()].clone();
        let (pool, done) = (Arc::clone(&pool), Arc::clone(&done));
        tokio::spawn(async move {
            for _ in 0..500 {
                let (done, running) = (Arc::clone(&done), Arc::clone(&running));
                let job = move || {
                    assert!(running.fetch_add(1, Ordering::SeqCst) < SHARE);
                    thread::yield_now();
                    running.fetch_sub(1, Ordering::SeqCst);
                    done.fetch_add(1, Ordering::SeqCst)
                };
                assert!(pool.run(&tenant, None, job).await.is_ok());
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
    while !pool.0.waiting().running.is_empty() {
        assert!(began.elapsed() < LONG, "tenants are kept");
        thread::yield_now();
    }
    assert!(pool.0.waiting().jobs.is_empty());
}

#[tokio::test]
async fn tenants_take_turns_and_what_nobody_waits_for_costs_none() {
    let pool = PluginThreads::start(1, 1, "test", 0).unwrap();
    let [gate, a, b, c]: [TenantName; 4] = ["gate", "a", "b", "c"].map(Into::into);
    let (go, gone) = signal();
    let order = Arc::new(Mutex::new(String::new()));
    let job = |tenant: &TenantName, name| {
        let (tenant, order, pool) = (Arc::clone(tenant), Arc::clone(&order), &pool);
        // It comes when it is first polled.
        async move { assert!(pool.run(&tenant, None, move || order.lock().push_str(name)).await.is_ok()) }
    };
    let first = pool.run(&gate, None, move || gone.lock().recv().is_ok());
    let late = async {
        for _ in 0..3 {
            let mut late = Box::pin(job(&a, "late"));
            assert!(poll_fn(|cx| Poll::Ready(late.as_mut().poll(cx).is_pending())).await);
        }
    };
    let begins = async { go.send(()).unwrap() };
    let (first, ..) = tokio::join!(
        first,
        late,
        job(&a, "a"),
        job(&a, "a"),
        job(&a, "a"),
        job(&b, "b"),
        job(&c, "c"),
        job(&b, "b"),
        begins
    );
    assert!(matches!(first, Ok(true)));
    assert_eq!(*order.lock(), "abcaba");
}

#[tokio::test]
async fn what_would_have_to_wait_is_not_taken() {
    let pool = PluginThreads::start(2, 1, "test", 0).unwrap();
    let [a, b]: [TenantName; 2] = ["a", "b"].map(Into::into);
    let (go, gone) = signal();
    let first = pool.run(&a, None, move || gone.lock().recv().is_ok());
    let beside = async {
        assert!(pool.run_if_idle(&a, || ()).is_none(), "it has its share");
        // The other thread may not have come yet.
        let began = Instant::now();
        loop {
            match pool.run_if_idle(&b, || 7) {
                Some(runs) => break assert!(matches!(runs.await, Ok(7))),
                None => assert!(began.elapsed() < LONG, "no thread is idle"),
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        go.send(()).unwrap();
    };
    let (first, ()) = tokio::join!(first, beside);
    assert!(matches!(first, Ok(true)));
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
    let pool = PluginThreads::start(1, 1, "test", 0).unwrap();
    let tenant: TenantName = "acme".into();
    assert!(matches!(pool.run(&tenant, None, || panic!("on purpose")).await, Err::<(), _>(NotRun::Panicked)));
    assert!(matches!(pool.run(&tenant, None, || 7).await, Ok(7)));
    let (go, gone) = signal();
    let (says, begun) = mpsc::channel();
    let mut unwanted = Box::pin(pool.run(&tenant, None, move || {
        says.send(()).unwrap();
        gone.lock().recv().unwrap();
        Fragile
    }));
    assert!(poll_fn(|cx| Poll::Ready(unwanted.as_mut().poll(cx).is_pending())).await);
    begun.recv_timeout(LONG).unwrap();
    drop(unwanted);
    go.send(()).unwrap();
    let next = timeout(LONG, pool.run(&tenant, None, || 8)).await;
    assert!(matches!(next, Ok(Ok(8))));
}
