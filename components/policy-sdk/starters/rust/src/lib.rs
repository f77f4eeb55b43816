//! Holds mail with more recipients than the setting `max-recipients` allows.

use relevo_policy_sdk::{Answer, Configure, Decision, Message, Policy, Settings};

/// Made anew in each instance, then configured.
#[derive(Debug, Default)]
pub struct MyPolicy {
    max_recipients: usize,
}

relevo_policy_sdk::export!(MyPolicy: Configure);

impl Configure for MyPolicy {
    fn configure(&mut self, settings: &Settings) -> Result<(), String> {
        settings.only(&["max-recipients"])?;
        self.max_recipients = settings.parse("max-recipients")?.ok_or("`max-recipients` is missing")?;
        Ok(())
    }
}

impl Policy for MyPolicy {
    fn decide(&self, message: &Message) -> Answer {
        let recipients = message.envelope.recipients.len();
        if recipients <= self.max_recipients {
            return Ok(Decision::accept());
        }
        Ok(Decision::hold(format!("{recipients} recipients, more than {}", self.max_recipients)))
    }
}

#[cfg(test)]
mod tests {
    use relevo_policy_sdk::Verdict;
    use relevo_policy_sdk::testkit::{Kit, message};

    use super::*;

    #[test]
    fn too_many_recipients_are_held() {
        let kit = Kit::<MyPolicy>::new().settings([("max-recipients", "1")]).unwrap();
        let mail = message("Subject: Hello\n\nHello.\n").recipient("ada@reader.test");
        assert_eq!(kit.decide(&mail.clone().build()), Ok(Decision::accept()));

        let held = kit.decide(&mail.recipient("bob@reader.test").build()).unwrap();
        assert_eq!(held.verdict, Verdict::Hold("2 recipients, more than 1".into()));
    }
}
