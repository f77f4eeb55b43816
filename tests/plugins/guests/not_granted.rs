//! Imports `relevo:host/signer`, which no plugin is ever granted: to be refused when it is added,
//! by name.

#[allow(unsafe_code, missing_docs, unreachable_pub, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        path: ["../../wit/relevo-host-0.1.0"],
        inline: "package relevo:plugins; world not-granted { import relevo:host/signer@0.1.0; }",
        world: "relevo:plugins/not-granted",
        generate_all,
    });
}

use relevo_policy_sdk::{Answer, Decision, Message, Policy};

#[derive(Default)]
struct NotGranted;

relevo_policy_sdk::export!(NotGranted);

impl Policy for NotGranted {
    fn decide(&self, message: &Message) -> Answer {
        let domain = &message.envelope.sender_domain;
        let signature = bindings::relevo::host::signer::sign(domain, "s1", "rsa-sha256", b"anything");
        Ok(Decision::accept().header("X-Stolen", format!("{signature:?}")))
    }
}
