//! The pass over a message.

use relevo_mailkit::model::{Part, Rewrite, TrackOptions};

/// Finds what is to be rewritten in the parts of one message.
pub struct Rewriter {
    _options: TrackOptions,
    _parts: Vec<Part>,
}

impl Rewriter {
    /// For a message with these parts.
    #[must_use]
    pub fn new(options: TrackOptions, parts: Vec<Part>) -> Self {
        Self { _options: options, _parts: parts }
    }

    /// The indexes of the parts to be pushed, ascending.
    #[must_use]
    pub fn wanted(&self) -> Vec<u32> {
        Vec::new()
    }

    /// The next part.
    pub fn begin(&mut self, _part: u32) {}

    /// Raw octets of its body.
    pub fn push(&mut self, _chunk: &[u8]) {}

    /// The end of its body.
    pub fn end(&mut self) {}

    /// What is to be rewritten.
    #[must_use]
    pub fn finish(self) -> Rewrite {
        Rewrite { edits: Vec::new(), links: Vec::new(), notes: Vec::new() }
    }
}
