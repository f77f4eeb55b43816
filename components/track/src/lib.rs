//! Link and open tracking: edits to a message, with places for URLs that the caller mints.

mod rewriter;

pub use rewriter::Rewriter;
