//! Real work of other threads under simulated time.

use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use tokio::runtime::Handle;

/// Keeps simulated time from running on while another thread works: it does not as long as a
/// blocking task runs.
pub(super) struct TimeHold {
    _end: mpsc::Sender<()>,
}

impl TimeHold {
    pub(super) fn new() -> Option<Self> {
        let (end, ended) = mpsc::channel();
        Handle::try_current().ok()?.spawn_blocking(move || ended.recv());
        Some(Self { _end: end })
    }
}

/// Wakes the thread that waits in [`block_on`].
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future on this thread.
pub(super) fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        if let Poll::Ready(output) = std::pin::Pin::new(&mut future).poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        std::thread::park();
    }
}
