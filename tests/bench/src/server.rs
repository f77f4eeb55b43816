//! What is measured: a mail server that runs, Relevo or a peer.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use crate::metrics::Metrics;
use crate::process::{self, Cpu};
use crate::relay::Relay;

/// A server with everything that belongs to it.
pub(crate) trait Server {
    /// For the table.
    fn name(&self) -> &str;
    /// Where mail is submitted without AUTH and TLS.
    fn smtp(&self) -> SocketAddr;
    /// Of all its processes, also of those that have ended.
    fn cpu(&self) -> Result<Cpu>;
    /// The process whose memory counts, if there is one.
    fn main_process(&self) -> Option<u32>;
    /// Its own figures, if it has any.
    fn metrics(&self) -> Result<Option<Metrics>>;
    /// Waits until what was delivered is also written down.
    fn settle(&self, limit: Duration) -> Result<()>;
}

impl Server for Relay {
    fn name(&self) -> &str {
        "Relevo"
    }

    fn smtp(&self) -> SocketAddr {
        self.smtp
    }

    /// It has no processes beside its own.
    fn cpu(&self) -> Result<Cpu> {
        process::cpu(self.pid())
    }

    fn main_process(&self) -> Option<u32> {
        Some(self.pid())
    }

    fn metrics(&self) -> Result<Option<Metrics>> {
        Relay::metrics(self).map(Some)
    }

    fn settle(&self, limit: Duration) -> Result<()> {
        self.wait("everything settled", limit, |m| {
            m.get("relevo_delivery_in_flight") == 0.0 && m.get("relevo_queue_leased") == 0.0
        })
        .map(drop)
    }
}
