//! The send API without HTTP, the same natively and in wasm.
//!
//! * [`json`]: octets to a request, with the path, line or nearest known name of a mistake.
//! * [`request`]: the fields of `POST /emails`.
//! * [`check`]: limits and rules that no type can hold; every mistake of a request is named.
//! * [`batch`]: the requests of `POST /emails/batch`, each read like one that comes alone.
//! * [`answer`]: what a request is answered.
//! * [`headers`]: the same options as header fields of a message that came by SMTP.
//! * [`message`]: the messages that a request asks for, ready for the `template` component.
//! * [`content`]: the calls of `template` that make their content.
//! * [`template`]: stored templates as a rendering needs them, and `POST /render`.
//! * [`relay`]: messages that were built elsewhere, the body of `POST /relay`.
//! * [`tracking`]: clicks and opens that the edge answered, the body of `POST /relay/events`.
//! * [`unsubscribe`]: what the edge asks for the unsubscribe page.
//!
//! Pure: no clock, no randomness, no IO. Times and ids are arguments.

pub mod answer;
pub mod batch;
mod bounded;
pub mod check;
pub mod content;
pub mod headers;
pub mod json;
pub mod mailbox;
pub mod message;
pub mod problem;
pub mod relay;
pub mod request;
pub mod schedule;
#[cfg(feature = "schema")]
pub mod schema;
pub mod template;
pub mod tracking;
pub mod unsubscribe;

pub use answer::{BatchAnswer, EmailAnswer, RecipientAnswer, RecipientStatus};
pub use batch::CheckedBatch;
pub use check::{CheckedRequest, Limits};
pub use message::{MessageIds, OutgoingMessage};
pub use problem::{InvalidRequest, Problem};
pub use request::EmailRequest;
