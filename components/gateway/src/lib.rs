//! The root component at the edge: `POST /emails` and `POST /emails/batch` become finished messages,
//! which are handed to the core by its `POST /relay`. `POST /render` shows what would be sent. `GET
//! /healthz` says that it runs.
//!
//! * [`config`]: settings from environment variables.
//! * [`emails`]: from a request of the API to finished messages.
//! * [`signing`]: signatures of the edge.
//! * [`rendering`]: `POST /render`.
//! * [`templates`]: stored templates of the core, kept for a time.
//! * [`answer`]: answers in the words of the native API.
//! * [`outbox`]: hand-offs that wait while the core is away, in the root for Spin.
//! * [`readers`]: clicks, opens and the unsubscribe page at a tracking host.
//!
//! `template` is an import, satisfied by the component that the native host runs. The rest is plain code,
//! so that what the composition does can be compared with what the library does.

pub mod answer;
pub mod config;
pub mod emails;
#[cfg(target_family = "wasm")]
mod guest;
pub mod outbox;
pub mod readers;
pub mod rendering;
pub mod signing;
pub mod templates;
