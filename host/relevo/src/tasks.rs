//! Main tasks: the process does not go on without one of them.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

/// Says which main task has ended. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Watch(Arc<watch::Sender<Option<String>>>);

impl Watch {
    /// The first main task that ended, or nothing while all run.
    pub(crate) fn ended(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// Waits for a main task to end; returns its name.
    pub(crate) async fn wait(&self) -> String {
        let mut ended = self.0.subscribe();
        match ended.wait_for(Option::is_some).await.map(|name| name.clone()) {
            Ok(Some(name)) => name,
            // The sender is `self`.
            _ => std::future::pending().await,
        }
    }
}

/// Notes the end of a task when it is dropped: also when the task panics.
struct Guard {
    name: String,
    watch: Watch,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let name = std::mem::take(&mut self.name);
        self.watch.0.send_if_modified(|ended| {
            let is_first = ended.is_none();
            ended.get_or_insert(name);
            is_first
        });
    }
}

/// The main tasks of a relay. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct MainTasks {
    tasks: JoinSet<()>,
    watch: Watch,
}

impl MainTasks {
    pub(crate) fn new() -> Self {
        Self { tasks: JoinSet::new(), watch: Watch(Arc::new(watch::channel(None).0)) }
    }

    /// Runs a task that ends only when the relay stops.
    pub(crate) fn spawn(&mut self, name: impl Into<String>, task: impl Future<Output = ()> + Send + 'static) {
        let guard = Guard { name: name.into(), watch: self.watch.clone() };
        self.tasks.spawn(async move {
            let _guard = guard;
            task.await;
        });
    }

    pub(crate) fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// Ends all of them at once.
    pub(crate) async fn shutdown(mut self) {
        self.tasks.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_task_that_ends_is_named() {
        let mut tasks = MainTasks::new();
        let watch = tasks.watch();
        tasks.spawn("stays", std::future::pending());
        assert_eq!(watch.ended(), None);
        tasks.spawn("http 127.0.0.1:8025", async {});
        assert_eq!(watch.wait().await, "http 127.0.0.1:8025");
        tasks.spawn("later", async {});
        tasks.shutdown().await;
        assert_eq!(watch.ended().as_deref(), Some("http 127.0.0.1:8025"));
    }

    #[tokio::test]
    #[allow(clippy::panic, reason = "the panic is the case")]
    async fn a_panic_is_an_end() {
        let mut tasks = MainTasks::new();
        tasks.spawn("control", async { panic!("as a test") });
        assert_eq!(tasks.watch().wait().await, "control");
    }
}
