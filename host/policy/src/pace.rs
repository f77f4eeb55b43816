//! How much of the machine a compiler gets. A low priority is not enough: whatever computes makes others wait for caches and, on a
//! virtual machine, for the disk. So while the relay has work, its compiler computes in short turns with long pauses.

use std::io;
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};

/// What a compiler computes at once. Shorter turns would be more of them, and each one costs a little by itself.
const TURN: Duration = Duration::from_millis(2);
/// After each turn. It gets a thirtieth of the processors that its threads use, which are half of them.
const PAUSE: Duration = Duration::from_millis(58);
/// Between two looks at a compiler that is not paused.
const LOOK: Duration = Duration::from_millis(20);
/// From its start on, until nothing pauses it any more: whoever waits for it has waited long.
const LONGEST: Duration = Duration::from_secs(600);
/// The relay works when it uses more than one part in so many of a processor, and for a while after that.
const BUSY: u32 = 50;
const AFTER: Duration = Duration::from_secs(1);

/// Those for whom mail waits: while there are any, no compiler is paused.
#[derive(Debug, Default)]
pub(crate) struct Hurry(AtomicUsize);

impl Hurry {
    pub(crate) fn begin(&self) -> InHurry<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        InHurry(self)
    }

    pub(crate) fn is_there(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// One of them, until it is dropped.
pub(crate) struct InHurry<'a>(&'a Hurry);

impl Drop for InHurry<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Waits until it has ended. None when it was ended because it was let run for `most`, pauses not counted.
pub(crate) fn wait(child: &mut Child, most: Duration, hurry: &Hurry) -> io::Result<Option<ExitStatus>> {
    let (began, mut work) = (Instant::now(), Work::now());
    wait_while(child, most, || {
        let now = Instant::now();
        work.goes_on(now, cpu()) && !hurry.is_there() && now - began < LONGEST
    })
}

fn wait_while(
    child: &mut Child,
    most: Duration,
    mut in_turns: impl FnMut() -> bool,
) -> io::Result<Option<ExitStatus>> {
    let mut ran = Duration::ZERO;
    // To begin with it is let run, so that it comes to set its own limits and there is something to look back at.
    let mut turn = LOOK;
    loop {
        let began = Instant::now();
        sleep(turn);
        ran += began.elapsed();
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if ran > most {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        turn = LOOK;
        if in_turns() {
            pause(child)?;
            turn = TURN;
        }
    }
}

fn pause(child: &Child) -> io::Result<()> {
    // Even if it has ended by now the number is nobody else's, for nobody has waited for it.
    let pid = Pid::from_child(child);
    kill_process(pid, Signal::STOP)?;
    sleep(PAUSE);
    Ok(kill_process(pid, Signal::CONT)?)
}

/// What this process computes.
struct Work {
    looked: Instant,
    cpu: Duration,
    /// When it was more than a little.
    last: Option<Instant>,
}

impl Work {
    fn now() -> Self {
        Self { looked: Instant::now(), cpu: cpu(), last: None }
    }

    fn goes_on(&mut self, now: Instant, cpu: Duration) -> bool {
        if cpu.saturating_sub(self.cpu) * BUSY > now - self.looked {
            self.last = Some(now);
        }
        (self.looked, self.cpu) = (now, cpu);
        self.last.is_some_and(|last| now - last < AFTER)
    }
}

fn cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn shell(script: &str) -> Child {
        Command::new("sh").args(["-c", script]).spawn().expect("a shell")
    }

    #[test]
    fn it_ends_whether_it_is_paused_or_not() {
        for in_turns in [false, true] {
            let mut child = shell("for n in 1 2 3 4 5 6 7 8 9; do :; done; exit 7");
            let ended = wait_while(&mut child, Duration::from_secs(60), || in_turns).expect("waits");
            assert_eq!(ended.and_then(|status| status.code()), Some(7));
        }
    }

    #[test]
    fn one_that_does_not_end_is_ended_also_between_turns() {
        for in_turns in [false, true] {
            let mut child = shell("while :; do :; done");
            let ended = wait_while(&mut child, Duration::from_millis(20), || in_turns).expect("waits");
            assert_eq!(ended, None);
            assert!(child.try_wait().expect("was waited for").is_some());
        }
    }

    /// What Linux says of the process: `T` is stopped.
    #[cfg(target_os = "linux")]
    fn is_stopped(pid: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'))
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn it_is_stopped_in_a_pause_and_goes_on_after_it() {
        let mut child = shell("while :; do :; done");
        let (pid, over) = (child.id(), AtomicUsize::new(0));
        let seen = std::thread::scope(|scope| {
            let looking = scope.spawn(|| {
                while over.load(Ordering::Relaxed) == 0 {
                    if is_stopped(pid) {
                        return true;
                    }
                    sleep(Duration::from_millis(1));
                }
                false
            });
            // One pause may pass between two looks; hundreds do not.
            for _ in 0..500 {
                pause(&child).expect("it is ours");
                if looking.is_finished() {
                    break;
                }
            }
            over.store(1, Ordering::Relaxed);
            looking.join().expect("does not panic")
        });
        assert!(seen);
        assert!(!is_stopped(pid), "between pauses");
        child.kill().and_then(|()| child.wait()).expect("ours");
    }

    /// Whether one that computes is ever stopped while this process does too.
    #[cfg(target_os = "linux")]
    fn is_paused(hurry: &Hurry) -> bool {
        let mut child = shell("while :; do :; done");
        let (pid, over) = (child.id(), AtomicUsize::new(0));
        let is_over = || over.load(Ordering::Relaxed) > 0;
        std::thread::scope(|scope| {
            scope.spawn(|| while !is_over() {});
            let looking = scope.spawn(|| {
                let mut stopped = false;
                while !is_over() && !stopped {
                    stopped = is_stopped(pid);
                    sleep(Duration::from_micros(200));
                }
                stopped
            });
            let ended = wait(&mut child, Duration::from_millis(100), hurry).expect("waits");
            over.store(1, Ordering::Relaxed);
            assert_eq!(ended, None, "it computes for ever");
            looking.join().expect("does not panic")
        })
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn who_computes_pauses_unless_somebody_waits() {
        let hurry = Hurry::default();
        assert!(is_paused(&hurry));
        let _waits = hurry.begin();
        assert!(!is_paused(&hurry));
    }

    #[test]
    fn there_is_a_hurry_until_the_last_one_is_done() {
        let hurry = Hurry::default();
        let (one, two) = (hurry.begin(), hurry.begin());
        drop(one);
        assert!(hurry.is_there());
        drop(two);
        assert!(!hurry.is_there());
    }

    #[test]
    fn work_goes_on_for_a_while_after_it_was_seen() {
        let ms = Duration::from_millis;
        let mut work = Work { looked: Instant::now(), cpu: ms(7), last: None };
        let began = work.looked;
        for (at, cpu, goes_on) in [
            // A fiftieth is not more than a fiftieth.
            (100, 9, false),
            (200, 12, true),
            (1_100, 12, true),
            (1_201, 12, false),
            (2_000, 20, false),
            (2_020, 21, true),
        ] {
            assert_eq!(work.goes_on(began + ms(at), ms(cpu)), goes_on, "at {at} ms");
        }
    }
}
