//! Pages of the panel: pure, from what they show to HTML. Routes, permissions and data are those of
//! `relevo-http`.
//!
//! Templates are in `templates/`, texts in `texts/`, one file for each language. A page has no inline
//! script and no inline style, and loads nothing from other hosts ([`POLICY`]). It works without
//! scripts.

mod escape;
pub mod headers;
pub mod inbox;
mod texts;

pub use texts::{Language, Texts};

/// The Content-Security-Policy of a page.
pub const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; frame-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The Content-Security-Policy of the body of a message, in a frame or by itself: no scripts, no forms,
/// an origin of its own, nothing from other hosts.
pub const BODY_POLICY: &str = "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; \
    style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// The same, with the images that the message names. Whoever serves them learns that it was opened.
pub const BODY_POLICY_WITH_IMAGES: &str = "sandbox allow-popups allow-popups-to-escape-sandbox; \
    default-src 'none'; style-src 'unsafe-inline'; img-src data: http: https:; base-uri 'none'; \
    form-action 'none'";

/// The path of the style sheet below `/panel/`. It changes with its content.
pub const STYLE_PATH: &str = concat!("panel-", env!("CARGO_PKG_VERSION"), ".css");
/// The style sheet.
pub const STYLE: &str = include_str!("../assets/panel.css");
