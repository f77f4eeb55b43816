//! Load on a running relay: throughput, cost per message, memory. See README.md beside this crate.
//!
//! Three processes' worth of work in two: the relay under test is a process of its own, so that its
//! processor time and memory are its own; load generator and next hop are threads of this one and
//! share a clock.
//!
//! What starts a relay, talks to it and takes what it sends is public: other harnesses stand on it.

pub mod http_client;
pub mod ledger;
pub mod load;
pub mod message;
pub mod metrics;
pub mod process;
pub mod relay;
pub mod series;
pub mod sink;

mod api;
mod backlog;
mod bench;
mod ceiling;
mod cluster;
mod compare;
mod dns;
mod edge;
mod group;
mod memory;
mod options;
mod outside;
mod peers;
mod plugins;
mod receivers;
mod report;
mod scene;
mod server;
mod slices;
mod smtp_source;
mod tenants;
mod throughput;

pub use bench::run;
