//! One plugin with everything that a plugin can do wrong. Which, says the setting `case`; without
//! it, the message's attribute `case`; without that, its field `X-Case`; without that, it accepts.
//! `CASES` of the crate's library lists them with what is to come of each.
#![allow(clippy::panic, reason = "some of the cases")]

mod answers;
mod effort;

use relevo_policy_sdk::{
    Answer, Configure, Decision, Event, Flow, Inspect, Inspector, Message, Observe, Policy, Settings,
};

#[derive(Default)]
struct Hostile {
    case: Option<String>,
}

relevo_policy_sdk::export!(Hostile: Configure, Inspect, Observe);

impl Configure for Hostile {
    fn configure(&mut self, settings: &Settings) -> Result<(), String> {
        self.case = settings.get("case").map(str::to_owned);
        match self.case.as_deref() {
            Some("configure-loop") => effort::forever(),
            Some("configure-trap") => panic!("configure-trap"),
            Some("configure-error") => Err("configure-error".to_owned()),
            _ => Ok(()),
        }
    }
}

impl Hostile {
    fn case(&self, message: &Message) -> String {
        let told = self.case.as_deref().or_else(|| message.attribute("case")).map(str::to_owned);
        told.or_else(|| message.header("X-Case")).unwrap_or_else(|| "none".to_owned())
    }
}

impl Policy for Hostile {
    fn decide(&self, message: &Message) -> Answer {
        let case = self.case(message);
        let case = case.as_str();
        // Faults of these are in another call.
        if matches!(case, "none") || case.starts_with("inspect-") || case.starts_with("observe-") {
            return Ok(Decision::accept());
        }
        effort::run(case, message)
            .or_else(|| answers::of(case, message))
            .unwrap_or(Err(format!("no case `{case}`")))
    }
}

struct Body(String);

impl Inspect for Hostile {
    type Inspector = Body;

    fn inspect(&self, message: &Message) -> Body {
        let case = self.case(message);
        if case == "inspect-begin-loop" {
            effort::forever();
        }
        Body(case)
    }
}

impl Inspector for Body {
    fn push(&mut self, _: &[u8]) -> Flow {
        match self.0.as_str() {
            "inspect-push-loop" => effort::forever(),
            "inspect-push-trap" => panic!("inspect-push-trap"),
            "inspect-enough" => Flow::Enough,
            _ => Flow::More,
        }
    }

    fn finish(self) -> Answer {
        match self.0.as_str() {
            "inspect-finish-loop" => effort::forever(),
            "inspect-finish-error" => Err("inspect-finish-error".to_owned()),
            "headers-twice" => Ok(answers::most_headers()),
            _ => Ok(Decision::accept()),
        }
    }
}

impl Observe for Hostile {
    fn observe(&self, _: &[Event]) {
        match self.case.as_deref() {
            Some("observe-loop") => effort::forever(),
            Some("observe-trap") => panic!("observe-trap"),
            _ => {}
        }
    }
}
