//! Measures what shaping asks and learns for one message.
//!
//! `cargo run --release -p relevo-delivery --example shaping`
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement, for people")]

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use relevo_delivery::shaping::{Outcome, PathKey, Shaping, ShapingRules, Sources};

const MESSAGES: u32 = 1_000_000;
/// Providers that are sent to in turn: those with rules, and others.
const HOSTS: [&str; 5] = [
    "gmail-smtp-in.l.google.com",
    "outlook-com.olc.protection.outlook.com",
    "mta5.am0.yahoodns.net",
    "smtp-in.orange.fr",
    "mx.university.example",
];

fn main() {
    for warmup in [false, true] {
        let per_message = measure(warmup);
        println!("warm-up {}: {per_message:?} a message", if warmup { "on" } else { "off" });
    }
}

fn measure(warmup: bool) -> std::time::Duration {
    let mut rules = ShapingRules::default();
    if warmup {
        // A day that is large enough.
        let file = toml::from_str("[warmup]\nladder = [1000000]\nhour = 1.0\n").unwrap();
        rules = ShapingRules::with(file).unwrap();
    }
    let ips: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()];
    let families = (true, false);
    let sources = Sources { pool: "p", ipv4: &ips, ipv6: &[], families, first: 0, warmup };
    let sites: Vec<_> = HOSTS.iter().map(|host| rules.provider([*host])).collect();
    let sites: Vec<_> = sites
        .into_iter()
        .map(|provider| {
            (Arc::new(PathKey { provider: provider.name.clone(), pool: "p".to_owned() }), provider)
        })
        .collect();
    let mut shaping = Shaping::default();
    shaping.set_time_of_day(0, 1_800_000_000_000);
    let began = Instant::now();
    let mut sent = 0;
    for message in 0..MESSAGES {
        // As fast as a minute's rate lets it: a thousand a second.
        let now = i64::from(message);
        let (path, provider) = &sites[message as usize % sites.len()];
        shaping.begin_hour(provider, &sources);
        if message % 10_000 < 5 {
            let counts = shaping.unstored();
            shaping.wrote(&counts);
        }
        let Ok(chosen) = shaping.admit(path, provider, &sources, u64::from(message), now) else { continue };
        shaping.take(path, provider, &sources, now);
        let reserved = shaping.reserve(provider, &chosen, 1);
        let outcome = Outcome { source: chosen.ipv4, tenant: "acme", accepted: 1, refusals: Vec::new() };
        black_box(shaping.learned(path, provider, &sources, &outcome, now));
        shaping.release(provider, &chosen, reserved, (chosen.ipv4, 1));
        sent += 1;
    }
    assert!(sent > MESSAGES / 2, "{sent} of {MESSAGES} were let go");
    began.elapsed() / sent
}
