//! What a receiver's words mean: one answer for every refusal and deferral.
//! `wit/relevo-mail/classify.wit` says who calls what.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `facts` | code, enhanced code, command and host of a reply, and its text without them |
//! | `tokens` | addresses, continuation lines and words that were broken |
//! | `words` | text as lower case words without accents |
//! | `file` | the rules as TOML |
//! | `compile` | from the file to conditions, with the mistakes in it |
//! | `phrases` | all phrases of all rules, found in one pass over the text |
//! | `rules` | the rules in their order, and the answer of the first that holds |
//!
//! Rules are data. Time is linear in the text, of which 4 KiB count. Nothing of one reply is kept
//! for the next.

mod compile;
mod conditions;
mod facts;
mod file;
mod phrases;
mod rules;
mod tokens;
mod words;

#[cfg(target_family = "wasm")]
mod guest;

pub use compile::RulesError;
pub use rules::{CaseError, DEFAULT_RULES, Rules};
