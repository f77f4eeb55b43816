//! A request that may have to wait: its identity, and what makes it fit to wait.

use std::collections::HashSet;

use relevo_api::answer::{BatchAnswer, EmailAnswer, RecipientAnswer, RecipientStatus};
use relevo_api::relay::{RelayRequest, RelayedEmail};
use relevo_api::schedule;
use relevo_mailkit::hex;
use sha2::{Digest, Sha256};

/// The key of `metadata` under which messages of a stored request carry their provisional id.
pub const EDGE_ID: &str = "edge_id";

/// Identity of a request, at the edge and at the core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Provisional id: `edge-` and 32 hexadecimal digits.
    pub id: String,
    /// Idempotency key: the caller's, or one of its own.
    pub key: String,
    /// True if the key is the caller's.
    pub is_callers: bool,
    /// SHA-256 of the request, in hexadecimal digits.
    pub digest: String,
}

impl Identity {
    /// The identity of a request with the digest `digest`. With a key of the caller the id follows from
    /// the key, so that a repetition is known; else it is made of `random`.
    #[must_use]
    pub fn new(key: Option<String>, digest: String, random: [u8; 16]) -> Self {
        match key {
            Some(key) => {
                let hash = Sha256::new().chain_update("edge").chain_update(&key).finalize();
                Self { id: format!("edge-{}", hex::encode(&hash[..16])), key, is_callers: true, digest }
            }
            None => {
                let id = format!("edge-{}", hex::encode(&random));
                Self { key: id.clone(), id, is_callers: false, digest }
            }
        }
    }
}

/// Makes a request fit to wait, and returns the answer that promises it. Spans such as `in 2 hours` become
/// times; the metadata of each message name the provisional id of its email.
#[must_use]
pub fn prepare(request: &mut RelayRequest, id: &str, is_single: bool, now: u64) -> BatchAnswer {
    let mut data = Vec::new();
    for (number, email) in request.emails.iter_mut().enumerate() {
        let id = if is_single { id.to_owned() } else { format!("{id}-{number}") };
        for time in [&mut email.scheduled_at, &mut email.expires_at].into_iter().flatten() {
            *time =
                schedule::parse(time, now).ok().and_then(schedule::format).unwrap_or_else(|| time.clone());
        }
        for message in &mut email.messages {
            message.add_metadata(&email.tags, EDGE_ID, &id);
        }
        data.push(answer(email, id, now));
    }
    BatchAnswer { object: "list".to_owned(), id: id.to_owned(), data, errors: Vec::new() }
}

fn answer(email: &RelayedEmail, id: String, now: u64) -> EmailAnswer {
    let scheduled = email.scheduled_at.clone().filter(|time| is_after(time, now));
    let status = if scheduled.is_some() { RecipientStatus::Scheduled } else { RecipientStatus::Queued };
    let mut seen = HashSet::new();
    let recipients = email.messages.iter().flat_map(|message| &message.recipients);
    let recipients = recipients.filter(|recipient| seen.insert(recipient.as_str()));
    let recipients = recipients.map(|recipient| RecipientAnswer {
        email: recipient.clone(),
        message_id: None,
        delivery_id: None,
        status,
        reason: None,
    });
    EmailAnswer {
        object: "email".to_owned(),
        id,
        recipients: recipients.collect(),
        scheduled_at: scheduled,
        dry_run: false,
    }
}

/// Takes out the emails that have expired, and returns their number.
pub(super) fn remove_expired(request: &mut RelayRequest, now: u64) -> usize {
    let before = request.emails.len();
    request.emails.retain(|email| email.expires_at.as_deref().is_none_or(|time| is_after(time, now)));
    before - request.emails.len()
}

/// Returns true if `time` can be read and is after `now`.
fn is_after(time: &str, now: u64) -> bool {
    schedule::parse(time, now).is_ok_and(|at| at > now)
}

#[cfg(test)]
mod tests {
    use relevo_api::relay::RelayedMessage;

    use super::*;

    const NOW: u64 = 1_795_325_640_000;

    fn request() -> RelayRequest {
        let message = |recipient: &str| RelayedMessage {
            sender: "shop@example.com".to_owned(),
            recipients: vec![recipient.to_owned(), "ana@example.net".to_owned()],
            message: Some("A: b".to_owned()),
            ..RelayedMessage::default()
        };
        let messages = vec![message("luis@example.net"), message("eva@example.net")];
        let email = |scheduled_at: Option<&str>, expires_at: Option<&str>| RelayedEmail {
            messages: messages.clone(),
            scheduled_at: scheduled_at.map(str::to_owned),
            expires_at: expires_at.map(str::to_owned),
            ..RelayedEmail::default()
        };
        RelayRequest { emails: vec![email(Some("in 2 hours"), Some("in 3 hours")), email(None, None)] }
    }

    #[test]
    fn a_key_gives_the_id_and_without_one_it_is_random() {
        let with = |key: &str| Identity::new(Some(key.to_owned()), "d".to_owned(), [1; 16]);
        assert_eq!((with("a").id, with("a").key.as_str()), (with("a").id, "a"));
        assert_ne!(with("a").id, with("b").id);
        let own = Identity::new(None, "d".to_owned(), [1; 16]);
        assert_eq!((own.id.as_str(), &own.key), ("edge-01010101010101010101010101010101", &own.id));
    }

    #[test]
    fn spans_become_times_and_messages_name_the_id() {
        let mut stored = request();
        let answer = prepare(&mut stored, "edge-1", false, NOW);
        let times =
            |at: usize| (stored.emails[at].scheduled_at.as_deref(), stored.emails[at].expires_at.as_deref());
        assert_eq!(times(0), (Some("2026-11-22T07:34:00Z"), Some("2026-11-22T08:34:00Z")));
        assert_eq!(times(1), (None, None));
        assert_eq!(stored.emails[1].messages[1].metadata[EDGE_ID], "edge-1-1");
        let [first, second] = answer.data.as_slice() else { panic!("two emails") };
        assert_eq!(
            (first.id.as_str(), first.recipients.len(), first.recipients[0].status),
            ("edge-1-0", 3, RecipientStatus::Scheduled)
        );
        assert_eq!(first.scheduled_at.as_deref(), Some("2026-11-22T07:34:00Z"));
        assert_eq!(
            (second.scheduled_at.as_ref(), second.recipients[2].status),
            (None, RecipientStatus::Queued)
        );
        // The same request has the same answer, whenever it is repeated.
        assert_eq!(prepare(&mut stored, "edge-1", false, NOW + 1), answer);
        assert_eq!(prepare(&mut request(), "edge-1", true, NOW).data[0].id, "edge-1");
    }

    #[test]
    fn what_has_expired_is_taken_out() {
        let mut stored = request();
        let _ = prepare(&mut stored, "edge-1", false, NOW);
        assert_eq!(remove_expired(&mut stored, NOW + 3 * 3_600_000 - 1), 0);
        assert_eq!((remove_expired(&mut stored, NOW + 3 * 3_600_000), stored.emails.len()), (1, 1));
    }

    #[test]
    fn metadata_without_room_stay_as_they_are() {
        let mut full = request();
        full.emails[0].messages[0].metadata =
            (0..50).map(|number| (number.to_string(), String::new())).collect();
        let _ = prepare(&mut full, "edge-1", true, NOW);
        assert!(!full.emails[0].messages[0].metadata.contains_key(EDGE_ID));
        assert!(full.emails[0].messages[1].metadata.contains_key(EDGE_ID));
    }
}
