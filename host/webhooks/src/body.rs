//! Bodies: `{"type":"...","created_at":"...","timestamp":"...","data":{...}}`.
//!
//! `data` is the event as the feed has it, and the names that Resend's clients read beside them.

use relevo_mailkit::event::{Attempt, Event, EventEntry, Failure};
use relevo_mailkit::labels::Labels;
use relevo_queue::{Millis, StoredEvent};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// RFC 3339 in UTC with milliseconds.
#[must_use]
pub fn timestamp(at: Millis) -> String {
    match jiff::Timestamp::from_millisecond(at) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => at.to_string(),
    }
}

#[derive(Debug, Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    event_type: &'a str,
    created_at: &'a str,
    /// The same under the name of the specification.
    timestamp: &'a str,
    data: Map<String, Value>,
}

/// The body about an event, under the type that an endpoint asked for.
pub(crate) fn of_event(event_type: &str, stored: StoredEvent) -> serde_json::Result<Vec<u8>> {
    let created_at = timestamp(stored.event.at);
    let entry = EventEntry {
        cursor: stored.cursor.to_string(),
        created_at: created_at.clone(),
        message_id: stored.event.item.map(|id| id.to_string()),
        labels: stored.event.labels,
        // It may go to third parties.
        event: stored.event.event.without_conversation(),
    };
    let data = data(&entry)?;
    serde_json::to_vec(&Body { event_type, created_at: &created_at, timestamp: &created_at, data })
}

/// The body of a test.
pub(crate) fn of_test(endpoint: &str, now: Millis) -> serde_json::Result<Vec<u8>> {
    let at = timestamp(now);
    let mut data = Map::new();
    data.insert("webhook_id".to_owned(), json!(endpoint));
    serde_json::to_vec(&Body { event_type: "webhook.test", created_at: &at, timestamp: &at, data })
}

fn data(entry: &EventEntry) -> serde_json::Result<Map<String, Value>> {
    let Value::Object(mut data) = serde_json::to_value(entry)? else { return Ok(Map::new()) };
    data.remove("type");
    if let Some(message) = &entry.message_id {
        labels(&mut data, message, &entry.labels);
    }
    addresses(&mut data);
    if let Some((name, details)) = details(&entry.event, &entry.created_at) {
        data.insert(name.to_owned(), details);
    }
    Ok(data)
}

fn labels(data: &mut Map<String, Value>, message: &str, labels: &Labels) {
    let id = if labels.email_id.is_empty() { message } else { labels.email_id.as_str() };
    data.insert("email_id".to_owned(), json!(id));
    if !labels.tags.is_empty() {
        let tags = labels.tags.iter().map(|tag| (tag.name.clone(), json!(tag.value)));
        data.insert("tags".to_owned(), Value::Object(tags.collect()));
    }
    if !labels.template.is_empty() {
        data.insert("template_id".to_owned(), json!(labels.template));
    }
}

fn addresses(data: &mut Map<String, Value>) {
    if let Some(sender) = data.get("sender").cloned() {
        data.insert("from".to_owned(), sender);
    }
    let one = data.get("recipient").map(|recipient| json!([recipient]));
    if let Some(to) = one.or_else(|| data.get("recipients").cloned()) {
        data.insert("to".to_owned(), to);
    }
}

/// The object that a type has for its details, and its name.
fn details(event: &Event, at: &str) -> Option<(&'static str, Value)> {
    let said =
        |attempt: &Attempt| attempt.reply.clone().or_else(|| attempt.reason.clone()).unwrap_or_default();
    Some(match event {
        Event::Bounced(attempt) => {
            let bounce = json!({"type": "Permanent", "subType": "General", "message": said(attempt)});
            ("bounce", bounce)
        }
        Event::Failed(Failure::Delivery(attempt)) => ("failed", json!({ "reason": said(attempt) })),
        Event::Failed(Failure::Submission(refusal)) => ("failed", json!({ "reason": refusal.reply })),
        Event::Suppressed(suppressed) => {
            ("suppressed", json!({"type": "Suppressed", "message": suppressed.reason}))
        }
        Event::Clicked(clicked) => ("click", json!({"link": clicked.url, "timestamp": at})),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use relevo_mailkit::event::Queued;
    use relevo_mailkit::labels::Tag;
    use relevo_queue::{ItemId, NewEvent};

    use super::*;

    fn body(event_type: &str, event: Event, labels: Labels) -> Value {
        let item = Some(ItemId::new(1_000, [7; 10]));
        let event = NewEvent { tenant: "acme".into(), at: 1_795_000_000_250, item, labels, event };
        serde_json::from_slice(&of_event(event_type, StoredEvent { cursor: 9, event }).unwrap()).unwrap()
    }

    #[test]
    fn the_body_has_the_events_fields_and_those_of_resend() {
        let labels = Labels {
            tags: vec![Tag { name: "campaign".into(), value: "spring".into() }],
            template: "welcome".into(),
            email_id: "01E".into(),
            ..Labels::default()
        };
        let queued = Queued {
            sender: "a@example.test".into(),
            recipients: vec!["b@example.net".into()],
            subject: "Hi".into(),
            ..Queued::default()
        };
        let body = body("email.sent", Event::Queued(queued), labels);
        assert_eq!(body["type"], "email.sent");
        assert_eq!(body["created_at"], "2026-11-18T11:06:40.250Z");
        assert_eq!(body["timestamp"], body["created_at"]);
        let data = &body["data"];
        assert_eq!(data["email_id"], "01E");
        assert_eq!(data["message_id"], ItemId::new(1_000, [7; 10]).to_string());
        assert_eq!((&data["from"], &data["sender"]), (&json!("a@example.test"), &json!("a@example.test")));
        assert_eq!((&data["to"], &data["subject"]), (&json!(["b@example.net"]), &json!("Hi")));
        assert_eq!(data["tags"], json!({"campaign": "spring"}));
        assert_eq!((&data["template_id"], &data["cursor"]), (&json!("welcome"), &json!("9")));
        assert_eq!(data.get("type"), None);
    }

    #[test]
    fn a_bounce_says_what_the_server_said() {
        let attempt = Attempt {
            recipient: "b@example.net".into(),
            reply: Some("5.1.1 no such user".into()),
            ..Attempt::default()
        };
        let body = body("email.bounced", Event::Bounced(attempt), Labels::default());
        assert_eq!(body["data"]["bounce"]["message"], "5.1.1 no such user");
        assert_eq!(body["data"]["to"], json!(["b@example.net"]));
        assert_eq!(body["data"]["email_id"], body["data"]["message_id"], "a message of its own");
    }
}
