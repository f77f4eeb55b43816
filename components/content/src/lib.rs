//! What receivers and readers may dislike about the content of a message: findings before it is
//! sent, none of which keeps it from being sent. And its parts, for people who look at it.
//!
//! The message is parsed by `mail-parser`, its HTML by the tokenizer of `html5ever`. Nothing is
//! fetched and nothing is changed. Work and memory are bounded by the size of the message, and the
//! number of findings by [`MAX_FINDINGS`].

mod hosts;
mod html;
mod inspector;
mod links;
mod markup;
mod reader;
mod subject;

#[cfg(target_family = "wasm")]
mod guest;

pub use inspector::{Inspector, MAX_FINDINGS, MAX_MESSAGE};
pub use reader::Reader;
