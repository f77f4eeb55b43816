//! Threads for what nobody's mail waits for.

use std::thread;

use tokio::sync::oneshot;

use crate::action::ActionError;

/// Added to the nice value of such a thread.
const NICE: i32 = 10;

/// Lowers the priority of the calling thread. Where that is refused it keeps the one that it has.
pub(crate) fn yield_to_mail() {
    // On Linux the nice value is the thread's; elsewhere it would be the process's.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(NICE);
}

/// Runs what computes, reads and writes for a while, as an upload does, on a thread of its own. It goes on when nobody waits any more.
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ActionError> + Send + 'static,
) -> Result<T, ActionError> {
    let (sender, done) = oneshot::channel();
    let started = thread::Builder::new().name("aside".into()).spawn(move || {
        yield_to_mail();
        // Nobody may be waiting any more.
        let _ = sender.send(work());
    });
    started.map_err(|e| ActionError::Failed(format!("a thread cannot be started: {e}")))?;
    done.await.unwrap_or_else(|_| Err(ActionError::Failed("it panicked: see the log".to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_it_comes_to_is_returned() {
        let own = || rustix::process::getpriority_process(None).expect("a priority");
        let before = own();
        // 19 is the last one.
        #[cfg(target_os = "linux")]
        assert_eq!(aside(move || Ok(own())).await, Ok((before + NICE).min(19)));
        let failed = || ActionError::Failed("no".to_owned());
        assert_eq!(aside(move || Err::<(), _>(failed())).await, Err(failed()));
        assert!(aside(|| -> Result<(), _> { panic!("on purpose") }).await.is_err());
        assert_eq!(own(), before, "others keep their priority");
    }
}
