//! Accepts everything: what a call costs.

use relevo_policy_sdk::{Answer, Decision, Message, Policy};

#[derive(Default)]
struct AcceptAll;

relevo_policy_sdk::export!(AcceptAll);

impl Policy for AcceptAll {
    fn decide(&self, _: &Message) -> Answer {
        Ok(Decision::accept())
    }
}
