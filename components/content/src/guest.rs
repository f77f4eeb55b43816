//! The component: the library behind the generated interface.
#![allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    reason = "the generated bindings; what is written here has no unsafe code and no public items"
)]

use std::cell::RefCell;

wit_bindgen::generate!({ path: "../../wit/relevo-mail", world: "content-stage" });

use exports::relevo::mail::content;

relevo_mailkit::wit_conversions!(content: exports::relevo::mail::content);

struct Component;

export!(Component);

impl content::Guest for Component {
    type Inspector = Inspector;
    type Reader = Reader;
}

/// Empty after `finish`: what is called then has no effect.
struct Inspector(RefCell<Option<crate::Inspector>>);

impl content::GuestInspector for Inspector {
    fn new(options: content::Options) -> Self {
        Self(RefCell::new(Some(crate::Inspector::new(options.into()))))
    }

    fn push(&self, chunk: Vec<u8>) {
        if let Some(inspector) = self.0.borrow_mut().as_mut() {
            inspector.push(&chunk);
        }
    }

    fn finish(&self) -> Result<Vec<content::Finding>, String> {
        let inspector = self.0.take().ok_or("it is finished")?;
        Ok(inspector.finish()?.into_iter().map(Into::into).collect())
    }
}

/// Empty after the one answer: what is called then has no effect.
struct Reader(RefCell<Option<crate::Reader>>);

impl Reader {
    fn take(&self) -> Result<crate::Reader, String> {
        self.0.take().ok_or_else(|| "it is finished".to_owned())
    }
}

impl content::GuestReader for Reader {
    fn new() -> Self {
        Self(RefCell::new(Some(crate::Reader::default())))
    }

    fn push(&self, chunk: Vec<u8>) {
        if let Some(reader) = self.0.borrow_mut().as_mut() {
            reader.push(&chunk);
        }
    }

    fn parts(&self) -> Result<content::Parts, String> {
        self.take()?.parts().map(Into::into)
    }

    fn attachment(&self, number: u32) -> Result<Option<Vec<u8>>, String> {
        self.take()?.attachment(number)
    }
}
