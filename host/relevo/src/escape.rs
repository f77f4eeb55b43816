//! Text that came from outside, made safe for a terminal.

pub(crate) use relevo_mailkit::text::Escaped;
