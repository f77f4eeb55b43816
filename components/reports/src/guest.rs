//! The component: the library behind the generated interface.
#![allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    reason = "the generated bindings; what is written here has no unsafe code and no public items"
)]

use std::cell::RefCell;

wit_bindgen::generate!({ path: "../../wit/relevo-mail", world: "reports-stage" });

use exports::relevo::mail::reports;

relevo_mailkit::wit_conversions!(reports: exports::relevo::mail::reports);

struct Component;

export!(Component);

impl reports::Guest for Component {
    type Reader = Reader;
}

/// Empty after `finish`: what is pushed then has no effect.
struct Reader(RefCell<Option<crate::Reader>>);

impl reports::GuestReader for Reader {
    fn new() -> Self {
        Self(RefCell::new(Some(crate::Reader::default())))
    }

    fn push(&self, chunk: Vec<u8>) {
        if let Some(reader) = self.0.borrow_mut().as_mut() {
            reader.push(&chunk);
        }
    }

    fn finish(&self) -> reports::Mail {
        self.0.take().map(crate::Reader::finish).unwrap_or_default().into()
    }
}
