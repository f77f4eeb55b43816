//! The component: the library behind the generated interface.
#![allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    reason = "the generated bindings; what is written here has no unsafe code and no public items"
)]

use std::cell::RefCell;

use relevo_mailkit::model;

wit_bindgen::generate!({ path: "../../wit/relevo-mail", world: "track-stage" });

use exports::relevo::mail::track;
use relevo::mail::types;

relevo_mailkit::wit_conversions!(types: relevo::mail::types);
relevo_mailkit::wit_conversions!(track: exports::relevo::mail::track);

struct Component;

export!(Component);

impl track::Guest for Component {
    type Rewriter = Rewriter;
}

/// Empty after `finish`: what is called then has no effect.
struct Rewriter(RefCell<Option<crate::Rewriter>>);

impl track::GuestRewriter for Rewriter {
    fn new(options: track::Options, parts: Vec<types::Part>) -> Self {
        let parts = parts.into_iter().map(Into::into).collect();
        Self(RefCell::new(Some(crate::Rewriter::new(options.into(), parts))))
    }

    fn parts_needed(&self) -> Vec<u32> {
        self.0.borrow().as_ref().map(crate::Rewriter::parts_needed).unwrap_or_default()
    }

    fn begin(&self, part: u32) {
        if let Some(rewriter) = self.0.borrow_mut().as_mut() {
            rewriter.begin(part);
        }
    }

    fn push(&self, chunk: Vec<u8>) {
        if let Some(rewriter) = self.0.borrow_mut().as_mut() {
            rewriter.push(&chunk);
        }
    }

    fn end(&self) {
        if let Some(rewriter) = self.0.borrow_mut().as_mut() {
            rewriter.end();
        }
    }

    fn finish(&self) -> track::Rewrite {
        let empty = || model::Rewrite { edits: Vec::new(), links: Vec::new(), notes: Vec::new() };
        self.0.take().map_or_else(empty, crate::Rewriter::finish).into()
    }
}
