//! Metrics of what only the binary knows: lost log lines, and the certificate.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::log;

/// Counts what the log could not take.
#[derive(Debug)]
pub(crate) struct LogCollector;

impl Collector for LogCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Log lines that could not be written";
        let counter = ConstCounter::new(log::dropped());
        let metric = encoder.encode_descriptor("log_lines_dropped", help, None, counter.metric_type())?;
        counter.encode(metric)
    }
}

/// When the certificate of the listeners ends.
#[derive(Debug, Clone, Default)]
pub(crate) struct CertificateExpiry(Gauge);

impl CertificateExpiry {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let expiry = Self::default();
        let help = "When the TLS certificate of the listeners ends, in seconds since 1970; 0 without one";
        registry.register("tls_certificate_expiry_seconds", help, expiry.0.clone());
        expiry
    }

    pub(crate) fn set(&self, seconds: Option<i64>) {
        self.0.set(seconds.unwrap_or(0));
    }
}
