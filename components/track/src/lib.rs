//! Link and open tracking: edits to a message, with segments for the URLs that the caller mints.
//!
//! # What is rewritten
//!
//! The value of the first `href` of `a` and `area` elements in `text/html` parts, when it is an
//! absolute `http://` or `https://` URL with a host once character references are decoded and the
//! whitespace round it is trimmed. With `text_links`, whole URLs in `text/plain` parts. Nothing
//! else: not `form`, `link`, `img` or `xlink:href`; not relative URLs, with or without
//! `<base href>` (a relative link stays relative, an absolute one does not depend on it); not URLs
//! with control characters, with a placeholder of a template that nobody filled in, or that are not
//! UTF-8.
//!
//! The tokenizer is `lol_html`'s, so what is a link is what a browser takes for one: whatever the
//! case, the quoting and the spaces round `=`. Text that only looks like a link is left alone: in
//! comments (conditional comments of Outlook among them), `script`, `style`, `textarea`, `title`,
//! `iframe`, `xmp`, `noembed`, `noframes`, and in `noscript`, which is text to a browser with
//! scripting. The inside of `<![if ...]> ... <![endif]>` is not a comment and is rewritten.
//!
//! A link in the body that unsubscribes is a link like any other: there is no telling, so its
//! author opts it out with one of the attributes in the module `optout`, which are stripped. URLs
//! that another tracker made are rewritten too.
//!
//! # The unsubscribe URL
//!
//! `https://unsubscribe.invalid/` ([`relevo_mailkit::unsubscribe::PLACEHOLDER`]) stands for the
//! recipient's unsubscribe URL. It is replaced wherever it stands in an HTML or plain text part, as
//! the module `unsubscribe` says, also where clicks are not tracked. A link to its host is never a
//! click.
//!
//! # How
//!
//! Each part is held, decoded, tokenized, and the changes are turned into edits of the message: see
//! the module `edits`. One part at a time, at most `max_html` raw octets of it and as many decoded.

mod decode;
mod edits;
mod html;
mod links;
mod optout;
mod part;
mod rewriter;
mod text;
mod unsubscribe;

#[cfg(target_family = "wasm")]
mod guest;

pub use rewriter::Rewriter;
