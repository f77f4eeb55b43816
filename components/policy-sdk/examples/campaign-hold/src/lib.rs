//! Large campaigns wait for a person. A message is held when it has many recipients, or when what
//! the submitter said about it (an attribute) is a large number.
//!
//! | setting | |
//! | --- | --- |
//! | `max-recipients` | a message with more recipients is held; none: no limit |
//! | `attribute` | the attribute to be looked at, `campaign-size` unless set |
//! | `max-attribute` | a message with a larger number there is held; none: no limit |
//! | `exempt` | a campaign that is never held; any number of these |
//!
//! What is held carries `X-Campaign-Hold`, so that its receivers' postmasters see that somebody
//! looked.

use relevo_policy_sdk::{Answer, Configure, Decision, Message, Policy, Settings};

/// See the [crate].
#[derive(Debug)]
pub struct CampaignHold {
    max_recipients: Option<usize>,
    attribute: String,
    max_attribute: Option<u64>,
    exempt: Vec<String>,
}

impl Default for CampaignHold {
    fn default() -> Self {
        Self {
            max_recipients: None,
            attribute: "campaign-size".to_owned(),
            max_attribute: None,
            exempt: Vec::new(),
        }
    }
}

relevo_policy_sdk::export!(CampaignHold: Configure);

impl Configure for CampaignHold {
    fn configure(&mut self, settings: &Settings) -> Result<(), String> {
        settings.only(&["max-recipients", "attribute", "max-attribute", "exempt"])?;
        self.max_recipients = settings.parse("max-recipients")?;
        self.max_attribute = settings.parse("max-attribute")?;
        if let Some(attribute) = settings.get("attribute") {
            self.attribute = attribute.to_owned();
        }
        self.exempt = settings.all("exempt").map(str::to_owned).collect();
        if self.max_recipients.is_none() && self.max_attribute.is_none() {
            return Err(
                "neither `max-recipients` nor `max-attribute` is set: nothing would be held".to_owned()
            );
        }
        Ok(())
    }
}

impl Policy for CampaignHold {
    fn decide(&self, message: &Message) -> Answer {
        let campaign = message.attribute("campaign");
        if campaign.is_some_and(|name| self.exempt.iter().any(|exempt| exempt == name)) {
            return Ok(Decision::accept());
        }
        Ok(match self.reason(message)? {
            Some(reason) => Decision::hold(reason).header("X-Campaign-Hold", "reviewed"),
            None => Decision::accept(),
        })
    }
}

impl CampaignHold {
    fn reason(&self, message: &Message) -> Result<Option<String>, String> {
        let recipients = message.envelope.recipients.len();
        if let Some(max) = self.max_recipients.filter(|max| recipients > *max) {
            return Ok(Some(format!("{recipients} recipients, more than {max}")));
        }
        let (Some(max), Some(text)) = (self.max_attribute, message.attribute(&self.attribute)) else {
            return Ok(None);
        };
        // What is not a number is not a small one: the operator's failure policy decides.
        let size: u64 =
            text.parse().map_err(|_| format!("the attribute {} is not a number", self.attribute))?;
        Ok((size > max).then(|| format!("{} is {size}, more than {max}", self.attribute)))
    }
}

#[cfg(test)]
mod tests {
    use relevo_policy_sdk::Verdict;
    use relevo_policy_sdk::testkit::{Fault, Kit, MessageBuilder, message};

    use super::*;

    fn kit(settings: &[(&str, &str)]) -> Kit<CampaignHold> {
        Kit::new().settings(settings.iter().copied()).unwrap()
    }

    fn to(recipients: usize) -> MessageBuilder {
        (0..recipients).fold(message("Subject: x\n\nx\n"), |m, n| m.recipient(&format!("u{n}@x.test")))
    }

    #[test]
    fn many_recipients_are_held() {
        let kit = kit(&[("max-recipients", "3")]);
        assert_eq!(kit.decide(&to(3).build()).unwrap(), Decision::accept());
        let held = kit.decide(&to(4).build()).unwrap();
        assert_eq!(held.verdict, Verdict::Hold("4 recipients, more than 3".into()));
        assert_eq!(held.headers[0].name, "X-Campaign-Hold");
    }

    #[test]
    fn a_large_attribute_is_held() {
        let kit = kit(&[("max-attribute", "1000"), ("attribute", "audience")]);
        let with = |name: &str, value: &str| kit.decide(&to(1).attribute(name, value).build());
        assert_eq!(with("audience", "1000"), Ok(Decision::accept()));
        assert_eq!(with("campaign-size", "1001"), Ok(Decision::accept()));
        assert!(matches!(with("audience", "1001").unwrap().verdict, Verdict::Hold(_)));
        assert!(matches!(with("audience", "many"), Err(Fault::Error(_))));
    }

    #[test]
    fn exempt_campaigns_are_not_held() {
        let kit = kit(&[("max-recipients", "1"), ("exempt", "invoices"), ("exempt", "alerts")]);
        assert_eq!(kit.decide(&to(5).attribute("campaign", "alerts").build()), Ok(Decision::accept()));
        assert_ne!(kit.decide(&to(5).attribute("campaign", "news").build()), Ok(Decision::accept()));
    }

    #[test]
    fn settings_that_hold_nothing_are_a_mistake() {
        for settings in [&[][..], &[("exempt", "x")], &[("max-recipients", "-1")], &[("max", "1")]] {
            assert!(Kit::<CampaignHold>::new().settings(settings.iter().copied()).is_err(), "{settings:?}");
        }
    }
}
