//! What components and host share: the data of the `relevo:mail` interfaces as plain types, mail
//! addresses, transfer encodings, the splicing of edits, the format of tracking tokens, replies,
//! foreign text made harmless, events, and the checker of what components return.
//!
//! Pure: no clock, no randomness, no IO other than through [`source::Source`].

pub mod address;
pub mod classification;
pub mod domain;
pub mod dsn;
pub mod envelope;
pub mod event;
pub mod hex;
pub mod id;
pub mod labels;
pub mod model;
pub mod policy;
pub mod recheck;
pub mod reply;
pub mod returned;
pub mod signing;
pub mod source;
pub mod splice;
pub mod text;
pub mod token;
pub mod transfer;
pub mod unsubscribe;
pub mod visitor;
pub mod webhook;
pub mod wit;
