//! What one kind of message costs more than another, in slices of one load that take turns: what
//! the machine gives moves by a third within minutes, and by little between one second and the
//! next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::load::{Load, Until};
use crate::relay::Relay;
use crate::server::Server;
use crate::throughput::{WARM_UP, delivered};

/// Until those are through that were under way when a slice began, and more than that.
const SETTLE: Duration = Duration::from_millis(150);
/// What is counted of it.
const SLICE: Duration = Duration::from_millis(850);

/// Processor time of a message in us, of the first kind and of the second, in so many pairs of
/// slices of a closed loop.
pub(crate) fn measure(relay: &Relay, load: Load, pairs: usize) -> Result<Vec<[f64; 2]>> {
    let (kind, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let ledger = Arc::clone(&load.ledger);
    let until = Until::Told(Duration::ZERO, Arc::clone(&over));
    let load = Load { only: Some(Arc::clone(&kind)), until, ..load };
    ledger.clear();
    let slice = |of: usize| -> Result<f64> {
        kind.store(of, Ordering::Relaxed);
        sleep(SETTLE);
        let read = || -> Result<_> { Ok((relay.cpu()?, ledger.counts().messages)) };
        let before = read()?;
        sleep(SLICE);
        let after = read()?;
        let messages = after.1 - before.1;
        ensure!(messages > 0, "nothing arrived within {SLICE:?}");
        #[expect(clippy::cast_precision_loss, reason = "messages of a second")]
        Ok(after.0.since(before.0).total().as_secs_f64() * 1e6 / messages as f64)
    };
    thread::scope(|scope| {
        let sending = scope.spawn(|| load.run());
        let all = || {
            for of in [0, 1] {
                kind.store(of, Ordering::Relaxed);
                sleep(WARM_UP);
            }
            // Each kind comes first in half of the pairs, so that what only grows or only shrinks
            // favours none.
            let pair = |n: usize| match n % 2 {
                0 => Ok([slice(0)?, slice(1)?]),
                _ => slice(1).and_then(|second| Ok([slice(0)?, second])),
            };
            (0..pairs).map(pair).collect::<Result<Vec<_>>>()
        };
        let pairs = all();
        over.store(true, Ordering::Relaxed);
        let sent = sending.join().ok().context("the load panicked")??;
        let arrived = delivered(relay, &ledger, sent.accepted)?;
        ensure!(arrived.repeated == 0 && arrived.unsigned == 0, "{arrived:?}");
        pairs
    })
}
