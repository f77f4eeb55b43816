//! The component: the library behind the generated interface.
#![allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    reason = "the generated bindings; what is written here has no unsafe code and no public items"
)]

use std::cell::RefCell;

use crate::Validator;

wit_bindgen::generate!({ path: "../../wit/relevo-mail", world: "validate-stage" });

use exports::relevo::mail::validate as wit;

relevo_mailkit::wit_conversions!(types: relevo::mail::types);
relevo_mailkit::wit_conversions!(validate: exports::relevo::mail::validate);

struct Component;

export!(Component);

impl wit::Guest for Component {
    type Validator = Resource;
}

struct Resource(RefCell<Option<Validator>>);

impl wit::GuestValidator for Resource {
    fn new(options: wit::Options) -> Self {
        Self(RefCell::new(Some(Validator::new(options.into()))))
    }

    fn push(&self, chunk: Vec<u8>) {
        if let Some(validator) = self.0.borrow_mut().as_mut() {
            validator.push(&chunk);
        }
    }

    fn finish(&self) -> Result<wit::Report, wit::Refusal> {
        // A second call has no message to report on.
        let validator = self.0.take().unwrap_or_else(|| Validator::new(crate::defaults()));
        validator.finish().map(Into::into).map_err(Into::into)
    }
}
