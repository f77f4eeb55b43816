//! Templates rendered, and MIME messages built. `wit/relevo-mail/template.wit` says who calls what.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `render` | the order: variables, MiniJinja, MJML, text |
//! | `engine` | MiniJinja within limits, its errors with their places |
//! | `references` | the templates that a source includes or extends |
//! | `filters` | dates, money, numbers and plurals in languages |
//! | `variables` | the JSON object and its depth |
//! | `mjml`, `text`, `tags` | MJML to HTML, HTML to text |
//! | `build`, `entity`, `fields`, `parts` | the message: checks, header fields, MIME parts |
//!
//! No clock, no randomness: the same input gives the same octets, natively and in a sandbox.

mod build;
mod conditions;
mod engine;
mod entity;
mod failure;
mod fields;
mod filters;
mod mjml;
mod parts;
mod references;
mod render;
mod tags;
mod text;
mod variables;

#[cfg(target_family = "wasm")]
mod guest;

pub use build::build;
pub use entity::entity;
pub use references::references;
pub use render::render;
