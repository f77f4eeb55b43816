//! Header fields for feedback loops: `Feedback-ID` (Gmail) and `CFBL-Address` (RFC 9477). Both are
//! worth something only under a signature, so only signed mail gets them.

use relevo_mailkit::hex;
use relevo_mailkit::labels::{Labels, Stream};
use relevo_mailkit::model::Report;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Octets of an identifier in `Feedback-ID`.
const MAX_IDENTIFIER: usize = 64;
/// The tag whose value is the campaign.
const CAMPAIGN: &str = "campaign";

/// Octets of a sender id: Google asks for 5 to 15, and for the same one in all mail of a sender.
const SENDER_ID: std::ops::RangeInclusive<usize> = 5..=15;

/// What a message gets for feedback loops.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedbackFields {
    /// Gets `Feedback-ID`.
    pub feedback_id: bool,
    /// Gets `CFBL-Address` at this return domain, and a `CFBL-Feedback-ID` for each recipient.
    pub cfbl: Option<Cfbl>,
}

/// The complaint address of a message (RFC 9477).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cfbl {
    /// The return domain that complaints come to.
    pub domain: String,
}

impl Cfbl {
    /// For a message from an author at `from_domain`. None where the complaint address would need a
    /// signature of its own domain, too (RFC 9477 section 3.1.3).
    #[must_use]
    pub fn aligned(return_domain: &str, from_domain: &str) -> Option<Self> {
        let rest = return_domain.strip_suffix(from_domain)?;
        (!from_domain.is_empty() && (rest.is_empty() || rest.ends_with('.')))
            .then(|| Self { domain: return_domain.to_owned() })
    }
}

/// The fields of a message of `tenant` from the configured domain `domain`, each ended by CRLF. What
/// the sender set itself is kept.
#[must_use]
pub fn fields(wanted: &FeedbackFields, report: &Report, tenant: &str, labels: &Labels) -> Vec<u8> {
    let mut fields = String::new();
    if wanted.feedback_id && !report.feedback_id {
        fields.push_str(&feedback_id(tenant, labels));
    }
    if let Some(cfbl) = &wanted.cfbl {
        fields.push_str(&format!("CFBL-Address: fbl@{}; report=arf\r\n", cfbl.domain));
    }
    fields.into_bytes()
}

/// `Feedback-ID: campaign:tenant:stream:sender`. Google counts complaints by each of the four, so
/// none of them may be about one recipient or one message. An empty one counts for nothing.
fn feedback_id(tenant: &str, labels: &Labels) -> String {
    let tag = |tag: &&relevo_mailkit::labels::Tag| tag.name.eq_ignore_ascii_case(CAMPAIGN);
    let tags = &labels.tags;
    let tagged = tags.iter().find(tag).or(tags.first()).map(|tag| match tag.value.is_empty() {
        true => tag.name.as_str(),
        false => tag.value.as_str(),
    });
    let campaign = identifier(tagged.unwrap_or(&labels.topic));
    let stream = match labels.stream {
        Stream::Marketing => "marketing",
        Stream::Transactional => "transactional",
    };
    let (tenant, sender) = (identifier(tenant), sender_id(&labels.domain));
    format!("Feedback-ID: {campaign}:{tenant}:{stream}:{sender}\r\n")
}

/// Letters, digits, `.`, `_` and `-`; a hyphen for anything else.
fn identifier(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    text.chars().map(|c| if is_plain(c) { c } else { '-' }).take(MAX_IDENTIFIER).collect()
}

/// The sending domain, or what stands for a longer or shorter one.
#[must_use]
pub fn sender_id(domain: &str) -> String {
    let plain = identifier(domain);
    if SENDER_ID.contains(&plain.len()) && plain == domain {
        return plain;
    }
    hex::encode(&Sha256::digest(domain.as_bytes())[..SENDER_ID.end() / 2])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use relevo_mailkit::labels::Tag;

    use super::*;
    use crate::testing::report;

    fn labels(tags: &[(&str, &str)]) -> Labels {
        let tags = tags.iter().map(|(name, value)| Tag { name: (*name).into(), value: (*value).into() });
        Labels {
            stream: Stream::Marketing,
            domain: "example.com".into(),
            tags: tags.collect(),
            ..Labels::default()
        }
    }

    fn of(labels: &Labels) -> String {
        let wanted = FeedbackFields { feedback_id: true, cfbl: None };
        String::from_utf8(fields(&wanted, &report(), "acme", labels)).expect("ASCII")
    }

    #[test]
    fn the_campaign_is_its_tag_or_another_or_the_topic() {
        let named = labels(&[("color", "red"), ("Campaign", "spring")]);
        assert_eq!(of(&named), "Feedback-ID: spring:acme:marketing:example.com\r\n");
        assert!(of(&labels(&[("vip", "")])).starts_with("Feedback-ID: vip:acme:"));
        let topic = Labels { topic: "weekly news".into(), ..labels(&[]) };
        assert!(of(&topic).starts_with("Feedback-ID: weekly-news:acme:"));
        assert_eq!(of(&labels(&[])), "Feedback-ID: :acme:marketing:example.com\r\n");
    }

    #[test]
    fn what_the_sender_set_is_kept() {
        let own = Report { feedback_id: true, ..report() };
        let wanted = FeedbackFields { feedback_id: true, cfbl: None };
        assert!(fields(&wanted, &own, "acme", &labels(&[])).is_empty());
        assert!(fields(&FeedbackFields::default(), &report(), "acme", &labels(&[])).is_empty());
    }

    #[test]
    fn a_complaint_address_is_at_the_domain_of_the_author_or_below() {
        for (at, from, is) in [
            ("return.example.com", "example.com", true),
            ("example.com", "example.com", true),
            ("return.example.com", "news.example.com", false),
            ("returnexample.com", "example.com", false),
            ("return.example.com", "", false),
        ] {
            assert_eq!(Cfbl::aligned(at, from).is_some(), is, "{at} {from}");
        }
        let wanted = FeedbackFields { feedback_id: false, cfbl: Cfbl::aligned("r.a.example", "a.example") };
        let written = fields(&wanted, &report(), "acme", &labels(&[]));
        assert_eq!(written, b"CFBL-Address: fbl@r.a.example; report=arf\r\n");
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_field(tenant: String, topic: String, name: String, value: String, domain: String) {
            let labels = Labels { topic, domain, ..labels(&[(&name, &value)]) };
            let field = String::from_utf8(
                fields(&FeedbackFields { feedback_id: true, cfbl: None }, &report(), &tenant, &labels),
            ).expect("ASCII");
            let value = field.strip_prefix("Feedback-ID: ").and_then(|rest| rest.strip_suffix("\r\n"));
            let value = value.expect("one line");
            prop_assert!(value.bytes().all(|b| b.is_ascii_graphic()), "{value:?}");
            let parts: Vec<_> = value.split(':').collect();
            prop_assert_eq!(parts.len(), 4);
            prop_assert!(SENDER_ID.contains(&parts[3].len()));
            prop_assert!(value.len() <= 900);
        }
    }
}
