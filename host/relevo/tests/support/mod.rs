//! A relay process, a client that speaks SMTP by hand, and a next hop that does what a test says.

pub mod client;
pub mod components;
pub mod dkim;
pub mod plugins;
pub mod relay;
pub mod sink;
pub mod tls;

use std::time::{Duration, Instant};

/// Asks until there is an answer; a minute is for a machine under load.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        if let Some(answer) = ask() {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{what}: not within a minute");
}
