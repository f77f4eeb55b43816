//! What the machine could do at most: a message costs at least its generator, its sink and its RSA
//! signature.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use serde::Serialize;

use crate::load::{Load, Schedule, Until};
use crate::message::Message;
use crate::process;
use crate::relay::PLAIN;
use crate::scene::Scene;

/// The floors, each measured alone.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Ceiling {
    /// Generator and sink, 4 KiB, without a relay between them.
    pub(crate) harness_us: f64,
    pub(crate) direct_per_second: f64,
    /// One RSA-2048 signature by the library that the relay signs with.
    pub(crate) rsa_us: f64,
    /// Processors over the sum of both.
    pub(crate) messages_per_second: f64,
}

/// Measures them, each for `duration`.
#[expect(clippy::cast_precision_loss, reason = "counts of seconds")]
pub(crate) fn ceiling(scene: &Scene, duration: Duration) -> Result<Ceiling> {
    let before = process::cpu(std::process::id())?;
    let load = Load {
        to: vec![scene.smarthost()],
        ledger: Arc::clone(&scene.ledger),
        messages: Arc::new([Message::new(PLAIN, 4096)]),
        only: None,
        addresses: scene.addresses(),
        recipients: 1,
        sessions: 20,
        until: Until::Elapsed(duration),
        schedule: Schedule::Closed,
    };
    let sent = load.run()?;
    let used = process::cpu(std::process::id())?.since(before).total();
    let harness_us = used.as_secs_f64() * 1e6 / sent.accepted as f64;
    let rsa_us = signature(duration.min(Duration::from_secs(2)))?;
    let cores = std::thread::available_parallelism()?.get() as f64;
    Ok(Ceiling {
        harness_us,
        direct_per_second: sent.accepted as f64 / sent.elapsed.as_secs_f64(),
        rsa_us,
        messages_per_second: cores * 1e6 / (harness_us + rsa_us),
    })
}

/// Processor time of one signature, in microseconds.
fn signature(duration: Duration) -> Result<f64> {
    let key = KeyPair::generate(KeySize::Rsa2048).ok().context("no RSA key")?;
    let (random, mut octets) = (SystemRandom::new(), vec![0; key.public_modulus_len()]);
    let (before, began, mut count) = (process::cpu(std::process::id())?, Instant::now(), 0_u32);
    while began.elapsed() < duration {
        key.sign(&RSA_PKCS1_SHA256, &random, b"relaxed/relaxed", &mut octets).ok().context("no signature")?;
        count += 1;
    }
    let used = process::cpu(std::process::id())?.since(before).total();
    Ok(used.as_secs_f64() * 1e6 / f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_takes_its_time() {
        let us = signature(Duration::from_millis(300)).expect("a figure");
        assert!(us > 10.0 && us < 100_000.0, "{us}");
    }
}
