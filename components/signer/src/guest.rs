//! The component: the library behind the generated interface, with the keys of its environment.
#![allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    reason = "the generated bindings; what is written here has no unsafe code and no public items"
)]

use std::sync::OnceLock;

use zeroize::Zeroizing;

use crate::{Keyring, SignError};

wit_bindgen::generate!({
    path: ["../../wit/relevo-host-0.1.0", "../../wit/relevo-mail", "../../wit/relevo-edge"],
    world: "relevo:edge/signer-stage",
});

use exports::relevo::host::signer;

/// The variable with the keys.
const VARIABLE: &str = "RELEVO_DKIM_KEYS";

struct Component;

export!(Component);

/// Read when the first message is signed, and kept as long as the instance.
static KEYRING: OnceLock<Option<Keyring>> = OnceLock::new();

impl signer::Guest for Component {
    fn sign(
        domain: String,
        selector: String,
        algorithm: String,
        to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, signer::Error> {
        let keyring = KEYRING.get_or_init(read).as_ref().ok_or(signer::Error::Unavailable)?;
        keyring.sign(&domain, &selector, &algorithm, &to_sign).map_err(|error| {
            // The name is that of the caller, which could be anything.
            eprintln!("signer: {domain:?} {selector:?} {algorithm:?}: {error}");
            match error {
                SignError::UnknownKey => signer::Error::UnknownKey,
                SignError::Refused(_) => signer::Error::Refused,
                SignError::Unavailable => signer::Error::Unavailable,
            }
        })
    }
}

fn read() -> Option<Keyring> {
    let list = Zeroizing::new(std::env::var(VARIABLE).unwrap_or_default());
    let keyring = Keyring::read(&list);
    keyring.inspect_err(|error| eprintln!("signer: the variable {VARIABLE} {error}")).ok()
}
