//! What is measured: a mail server that runs, Relevo or a peer.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use crate::metrics::Metrics;
use crate::process::{self, Cpu};
use crate::relay::Relay;

/// What the engine of a cluster counted since it was started.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct EngineCounters {
    /// Records of all logs.
    pub(crate) appends: u64,
    /// Octets that the logs have, as the engine counts them.
    pub(crate) octets: u64,
    /// Octets that its processes had written to their disks, all servers together.
    pub(crate) written: u64,
    /// Of all its servers.
    pub(crate) cpu: Cpu,
}

/// A server with everything that belongs to it.
pub(crate) trait Server {
    /// For the table.
    fn name(&self) -> &str;
    /// Where mail is submitted without AUTH and TLS.
    fn smtp(&self) -> SocketAddr;
    /// All such places, of a server that has several.
    fn entrances(&self) -> Vec<SocketAddr> {
        vec![self.smtp()]
    }
    /// Of all its processes, also of those that have ended.
    fn cpu(&self) -> Result<Cpu>;
    /// The process whose memory counts, if there is one.
    fn main_process(&self) -> Option<u32>;
    /// Its own figures, if it has any.
    fn metrics(&self) -> Result<Option<Metrics>>;
    /// Octets that its processes had written to disks, if that is known.
    fn written(&self) -> Result<Option<u64>> {
        Ok(None)
    }
    /// What the engine counts that keeps its log, if it has one.
    fn engine(&self) -> Result<Option<EngineCounters>> {
        Ok(None)
    }
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

    fn written(&self) -> Result<Option<u64>> {
        process::written(self.pid()).map(Some)
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
