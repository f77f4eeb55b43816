//! Recipients that get no mail, from the plugin's key-value data (capability `kv`). The keys, all
//! in lower case:
//!
//! | key | blocks |
//! | --- | --- |
//! | `address:ada@reader.test` | this address |
//! | `domain:reader.test` | every address at this domain and its subdomains (A-labels) |
//! | `prefix:no-reply@` | every address that begins like this; at most 500 of these are looked at |
//!
//! The value is the reason, for the event log; it may be empty.
//!
//! | setting | |
//! | --- | --- |
//! | `action` | what happens to a blocked recipient: `reject` (the default), `hold` or `discard` |
//! | `text` | of the reply when it is rejected |
//!
//! The other recipients of the message get it.

use relevo_policy_sdk::{
    Answer, Configure, Decision, Message, Policy, Recipient, Reply, Settings, Verdict, kv, log,
};

/// Keys of one lookup.
const KEYS: usize = 100;
/// Pages of prefixes: 500 of them.
const PAGES: usize = 5;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Action {
    #[default]
    Reject,
    Hold,
    Discard,
}

/// See the [crate].
#[derive(Debug)]
pub struct BlockList {
    action: Action,
    text: String,
}

impl Default for BlockList {
    fn default() -> Self {
        Self { action: Action::default(), text: "Recipient is on the block list".to_owned() }
    }
}

relevo_policy_sdk::export!(BlockList: Configure);

impl Configure for BlockList {
    fn configure(&mut self, settings: &Settings) -> Result<(), String> {
        settings.only(&["action", "text"])?;
        self.action = match settings.get("action") {
            None | Some("reject") => Action::Reject,
            Some("hold") => Action::Hold,
            Some("discard") => Action::Discard,
            Some(other) => return Err(format!("`action` is reject, hold or discard, not `{other}`")),
        };
        if let Some(text) = settings.get("text") {
            self.text = text.to_owned();
        }
        Ok(())
    }
}

impl Policy for BlockList {
    fn decide(&self, message: &Message) -> Answer {
        let recipients = &message.envelope.recipients;
        let mut reasons = exact(recipients)?;
        for (prefix, reason) in prefixes()? {
            for (recipient, found) in recipients.iter().zip(&mut reasons) {
                if found.is_none() && recipient.address.to_lowercase().starts_with(&prefix) {
                    *found = Some(reason.clone());
                }
            }
        }
        let blocked = reasons.into_iter().enumerate().filter_map(|(index, reason)| Some((index, reason?)));
        Ok(blocked.fold(Decision::accept(), |decision, (index, reason)| {
            decision.for_recipient(index, self.verdict(reason))
        }))
    }
}

impl BlockList {
    fn verdict(&self, reason: String) -> Verdict {
        let reason =
            if reason.is_empty() { "block list".to_owned() } else { format!("block list: {reason}") };
        match self.action {
            Action::Reject => {
                log::info(&reason);
                Verdict::Reject(Reply::permanent("5.7.1", self.text.clone()))
            }
            Action::Hold => Verdict::Hold(reason),
            Action::Discard => Verdict::Discard(reason),
        }
    }
}

/// For each recipient the reason of the first of its keys that is in the data.
fn exact(recipients: &[Recipient]) -> Result<Vec<Option<String>>, String> {
    let mut reasons = vec![None; recipients.len()];
    let keys: Vec<(usize, String)> = recipients
        .iter()
        .enumerate()
        .flat_map(|(index, r)| keys_of(r).map(move |key| (index, key)))
        .collect();
    for keys in keys.chunks(KEYS) {
        let names: Vec<String> = keys.iter().map(|(_, key)| key.clone()).collect();
        let values = kv::get_many(&names).map_err(|e| e.to_string())?;
        for ((index, _), value) in keys.iter().zip(values) {
            if let (None, Some(value)) = (&reasons[*index], value) {
                reasons[*index] = Some(text(&value));
            }
        }
    }
    Ok(reasons)
}

/// Most special first: the address, its domain, the domains above that.
fn keys_of(recipient: &Recipient) -> impl Iterator<Item = String> {
    let domains = std::iter::successors(Some(recipient.domain.as_str()), |domain| {
        domain.split_once('.').map(|(_, parent)| parent)
    });
    let address = std::iter::once(format!("address:{}", recipient.address.to_lowercase()));
    address.chain(domains.filter(|d| !d.is_empty()).map(|domain| format!("domain:{domain}")))
}

fn prefixes() -> Result<Vec<(String, String)>, String> {
    let mut prefixes = Vec::new();
    let mut after: Option<String> = None;
    for _ in 0..PAGES {
        let page = kv::scan("prefix:", after.as_deref(), 100).map_err(|e| e.to_string())?;
        let Some(last) = page.last() else { break };
        after = Some(last.key.clone());
        prefixes.extend(page.into_iter().filter_map(|entry| {
            let prefix = entry.key.strip_prefix("prefix:").filter(|prefix| !prefix.is_empty())?;
            Some((prefix.to_owned(), text(&entry.value)))
        }));
    }
    Ok(prefixes)
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

#[cfg(test)]
mod tests {
    use relevo_policy_sdk::testkit::{Fault, Kit, message};
    use relevo_policy_sdk::{Message, Verdict, kv};

    use super::*;

    fn to(addresses: &[&str]) -> Message {
        addresses.iter().fold(message("Subject: x\n\nx\n"), |m, a| m.recipient(a)).build()
    }

    fn blocked(kit: &Kit<BlockList>, addresses: &[&str]) -> Vec<usize> {
        let decision = kit.decide(&to(addresses)).unwrap();
        assert_eq!(decision.verdict, Verdict::Accept);
        (0..addresses.len()).filter(|i| decision.verdict_for(*i) != &Verdict::Accept).collect()
    }

    #[test]
    fn addresses_domains_and_prefixes() {
        let kit = Kit::new()
            .kv("address:ada@reader.test", "asked us to stop")
            .kv("domain:blocked.test", "")
            .kv("prefix:no-reply@", "nobody reads it")
            .kv("prefix:", "an empty prefix would block everybody");
        let addresses = [
            "Ada@Reader.test",
            "bob@reader.test",
            "x@blocked.test",
            "x@mail.blocked.test",
            "x@notblocked.test",
            "No-Reply@shop.test",
        ];
        assert_eq!(blocked(&kit, &addresses), [0, 2, 3, 5]);
        assert_eq!(kit.logged().len(), 4);
    }

    #[test]
    fn nothing_in_the_data_blocks_nothing() {
        assert_eq!(blocked(&Kit::new().empty_kv(), &["ada@reader.test", "postmaster"]), [] as [usize; 0]);
    }

    #[test]
    fn the_action_and_the_text_are_settings() {
        let verdict = |settings: &[(&str, &str)]| {
            let kit = Kit::<BlockList>::new()
                .kv("address:a@x.test", "why")
                .settings(settings.iter().copied())
                .unwrap();
            kit.decide(&to(&["a@x.test"])).unwrap().verdict_for(0).clone()
        };
        assert_eq!(verdict(&[("action", "hold")]), Verdict::Hold("block list: why".into()));
        assert_eq!(verdict(&[("action", "discard")]), Verdict::Discard("block list: why".into()));
        let Verdict::Reject(reply) = verdict(&[("text", "Not this one")]) else { panic!("not rejected") };
        assert_eq!((reply.code, reply.text.as_str()), (550, "Not this one"));
        assert!(Kit::<BlockList>::new().settings([("action", "bounce")]).is_err());
        assert!(Kit::<BlockList>::new().settings([("actoin", "hold")]).is_err());
    }

    #[test]
    fn a_thousand_recipients() {
        let kit = Kit::new().kv("address:u999@x.test", "");
        let addresses: Vec<String> = (0..1_000).map(|n| format!("u{n}@x.test")).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        assert_eq!(blocked(&kit, &addresses), [999]);
    }

    #[test]
    fn prefixes_beyond_the_first_page() {
        let kit = (0..250).fold(Kit::new(), |kit, n| kit.kv(format!("prefix:p{n:03}"), ""));
        assert_eq!(blocked(&kit, &["p249@x.test", "p250@x.test"]), [0]);
    }

    #[test]
    fn without_its_data_it_does_not_decide() {
        let kit = Kit::<BlockList>::new().kv_error(kv::Error::Unavailable);
        assert!(matches!(kit.decide(&to(&["a@x.test"])), Err(Fault::Error(_))));
    }
}
