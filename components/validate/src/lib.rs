//! Submission checks (RFC 6409) and the part index of a message. `wit/relevo-mail/validate.wit`
//! says who calls what.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `validator` | octets to lines, CRLF discipline, size |
//! | `structure`, `entity` | multiparts, boundaries, the part index |
//! | `header`, `head` | header blocks; the fields of the message itself |
//! | `lexer`, `address`, `date`, `media`, `domain` | the grammar of fields |
//! | `options`, `subject`, `words` | `X-Relevo-*` fields; the Subject for people; encoded words |
//! | `repair`, `encode` | dates that can be read all the same; raw UTF-8 in the headers of parts |
//! | `fixes`, `cuts` | edits that make a message fit for transport |
//! | `rules` | every reason to refuse |

mod address;
mod cuts;
mod date;
mod domain;
mod encode;
mod entity;
mod fields;
mod fixes;
mod head;
mod header;
mod lexer;
mod media;
mod options;
mod repair;
pub mod rules;
mod structure;
mod subject;
mod utf8;
mod validator;
mod words;

#[cfg(target_family = "wasm")]
mod guest;

use relevo_mailkit::model::ValidateOptions;
pub use validator::Validator;

/// Options for tests and examples: 50 MiB, 100 Received fields, nesting of 20, 1,000 parts, 7-bit
/// header, a clock that stands still.
#[must_use]
pub fn defaults() -> ValidateOptions {
    ValidateOptions {
        max_size: 50 * 1024 * 1024,
        max_received: 100,
        max_depth: 20,
        max_parts: 1_000,
        smtputf8: false,
        hostname: "mta1.example.com".into(),
        now: 1_795_325_640,
        message_id_left: "made.up".into(),
        downgrade: false,
        include_headers: false,
        strict_headers: false,
    }
}
