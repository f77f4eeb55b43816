//! The component: the library behind the generated interface.
#![allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    reason = "the generated bindings; what is written here has no unsafe code and no public items"
)]

use std::cell::RefCell;

wit_bindgen::generate!({ path: "../../wit/relevo-mail", world: "dkim-stage" });

use exports::relevo::mail::dkim;

relevo_mailkit::wit_conversions!(dkim: exports::relevo::mail::dkim);

struct Component;

export!(Component);

impl dkim::Guest for Component {
    type Signer = Signer;
    type Verifier = Verifier;
}

/// Empty after `finish`: what is pushed then has no effect, and a second `finish` is an error.
struct Signer(RefCell<Option<crate::Signer>>);

impl dkim::GuestSigner for Signer {
    fn new(requests: Vec<dkim::Request>) -> Self {
        Self(RefCell::new(Some(crate::Signer::new(requests.into_iter().map(Into::into).collect()))))
    }

    fn push(&self, chunk: Vec<u8>) {
        if let Some(signer) = self.0.borrow_mut().as_mut() {
            signer.push(&chunk);
        }
    }

    fn finish(&self) -> Result<Vec<dkim::SigningInput>, String> {
        let signer = self.0.take().ok_or("finished already")?;
        Ok(signer.finish()?.into_iter().map(Into::into).collect())
    }
}

struct Verifier(RefCell<Option<crate::Verifier>>);

impl dkim::GuestVerifier for Verifier {
    fn new(records: Vec<dkim::Txt>, now: i64) -> Self {
        let records = records.into_iter().map(Into::into).collect();
        Self(RefCell::new(Some(crate::Verifier::new(records, now))))
    }

    fn push(&self, chunk: Vec<u8>) {
        if let Some(verifier) = self.0.borrow_mut().as_mut() {
            verifier.push(&chunk);
        }
    }

    fn finish(&self) -> Vec<dkim::Verdict> {
        let verdicts = self.0.take().map(crate::Verifier::finish).unwrap_or_default();
        verdicts.into_iter().map(Into::into).collect()
    }
}
