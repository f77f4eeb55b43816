//! Bounds of time: callers and the core may be slow, or never end.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use spin_executor::{CancelOnDropToken, push_waker_and_get_token};
use wasi::clocks::monotonic_clock;

/// Runs `work` for no longer than `limit`; none: it has not ended by then.
pub(super) async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut timer) = (pin!(work), Timer::new(limit));
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Pin::new(&mut timer).poll(context).map(|()| None),
    })
    .await
}

struct Timer {
    ends: monotonic_clock::Instant,
    registered: Option<CancelOnDropToken>,
}

impl Timer {
    fn new(limit: Duration) -> Self {
        let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        Self { ends: monotonic_clock::now().saturating_add(limit), registered: None }
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if monotonic_clock::now() >= self.ends {
            return Poll::Ready(());
        }
        let pollable = monotonic_clock::subscribe_instant(self.ends);
        // The one before is dropped with its registration.
        self.registered = Some(push_waker_and_get_token(pollable, context.waker().clone()).into());
        Poll::Pending
    }
}
