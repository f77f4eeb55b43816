//! What remote servers say, made harmless before it reaches a log, a terminal, an event or a
//! bounce.

use relevo_mailkit::text::one_line;

/// The most that is kept of a remote's words.
pub(crate) const MAX_REMOTE_TEXT: usize = 1024;

/// `text` on one line of at most [`MAX_REMOTE_TEXT`] octets.
#[must_use]
pub fn remote_text(text: &str) -> String {
    one_line(text, MAX_REMOTE_TEXT)
}
