//! Which endpoints are told of an event, and under which name.

use relevo_mailkit::event::Event;
use relevo_queue::NewEvent;
use relevo_store::{StoredTag, WebhookEndpoint, WebhookSettings};

/// Names of other services that an endpoint may ask for, and the type that stands for them here.
pub const ALIASES: &[(&str, &str)] = &[("email.sent", "email.queued"), ("email.scheduled", "email.queued")];

/// Every name that an endpoint may ask for.
pub fn event_names() -> impl Iterator<Item = &'static str> {
    Event::NAMES.iter().copied().chain(ALIASES.iter().map(|(alias, _)| *alias))
}

/// The type under which an endpoint is told of an event; none: it is not told.
pub(crate) fn told_as(endpoint: &WebhookEndpoint, event: &NewEvent) -> Option<&'static str> {
    let is_later = event.at >= endpoint.created_at;
    (endpoint.enabled && is_later).then(|| wanted_as(&endpoint.settings, event)).flatten()
}

/// The type under which the filters of an endpoint let an event pass.
pub(crate) fn wanted_as(settings: &WebhookSettings, event: &NewEvent) -> Option<&'static str> {
    let of_message = settings.tags.is_empty() && settings.streams.is_empty();
    // An event about no message has neither tags nor a stream.
    let passes = of_message || event.item.is_some();
    let stream = event.labels.stream.name();
    let in_stream = settings.streams.is_empty() || settings.streams.iter().any(|name| name == stream);
    let has_tag = settings.tags.is_empty() || settings.tags.iter().any(|tag| carries(event, tag));
    if passes && in_stream && has_tag { named(&settings.types, &event.event) } else { None }
}

fn carries(event: &NewEvent, wanted: &StoredTag) -> bool {
    let mut tags = event.labels.tags.iter();
    tags.any(|tag| tag.name == wanted.name && wanted.value.as_ref().is_none_or(|value| *value == tag.value))
}

fn named(types: &[String], event: &Event) -> Option<&'static str> {
    let asked = |name: &str| types.iter().any(|wanted| wanted == name);
    if types.is_empty() || asked(event.name()) {
        return Some(event.name());
    }
    let alias = match event {
        Event::Queued(queued) if queued.scheduled_at.is_some() => "email.scheduled",
        Event::Queued(_) => "email.sent",
        _ => return None,
    };
    asked(alias).then_some(alias)
}

#[cfg(test)]
mod tests {
    use relevo_mailkit::event::{Queued, SuppressionChange};
    use relevo_mailkit::labels::{Labels, Stream, Tag};
    use relevo_queue::ItemId;

    use super::*;

    fn queued(scheduled_at: Option<&str>) -> NewEvent {
        let tag = |name: &str, value: &str| Tag { name: name.into(), value: value.into() };
        NewEvent {
            tenant: "acme".into(),
            at: 1_000,
            item: Some(ItemId::new(1_000, [7; 10])),
            labels: Labels {
                stream: Stream::Marketing,
                tags: vec![tag("campaign", "spring"), tag("test", "")],
                ..Labels::default()
            },
            event: Event::Queued(Queued { scheduled_at: scheduled_at.map(Into::into), ..Queued::default() }),
        }
    }

    fn settings(types: &[&str], tags: &[(&str, Option<&str>)], streams: &[&str]) -> WebhookSettings {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        WebhookSettings {
            types: owned(types),
            tags: tags
                .iter()
                .map(|(name, value)| StoredTag { name: (*name).into(), value: value.map(Into::into) })
                .collect(),
            streams: owned(streams),
            ..WebhookSettings::default()
        }
    }

    #[test]
    fn all_conditions_must_hold() {
        let event = queued(None);
        for (filters, passes) in [
            (settings(&[], &[], &[]), true),
            (settings(&["email.bounced", "email.queued"], &[], &[]), true),
            (settings(&["email.bounced"], &[], &[]), false),
            (settings(&[], &[("campaign", None)], &[]), true),
            (settings(&[], &[("campaign", Some("spring"))], &["marketing"]), true),
            (settings(&[], &[("campaign", Some("autumn"))], &[]), false),
            (settings(&[], &[("campaign", Some("autumn")), ("test", Some(""))], &[]), true),
            (settings(&[], &[("spring", None)], &[]), false),
            (settings(&[], &[], &["transactional"]), false),
            (settings(&["email.queued"], &[("campaign", None)], &["transactional"]), false),
        ] {
            assert_eq!(wanted_as(&filters, &event).is_some(), passes, "{filters:?}");
        }
    }

    #[test]
    fn an_event_about_no_message_has_neither_tag_nor_stream() {
        let change = Event::SuppressionAdded(SuppressionChange::default());
        let event = NewEvent { item: None, labels: Labels::default(), event: change, ..queued(None) };
        assert_eq!(wanted_as(&settings(&[], &[], &[]), &event), Some("suppression.added"));
        assert_eq!(wanted_as(&settings(&[], &[], &["transactional"]), &event), None);
    }

    #[test]
    fn other_services_names_are_aliases() {
        let both = settings(&["email.sent", "email.scheduled"], &[], &[]);
        assert_eq!(wanted_as(&both, &queued(None)), Some("email.sent"));
        assert_eq!(wanted_as(&both, &queued(Some("2026-12-24T18:00:00Z"))), Some("email.scheduled"));
        assert_eq!(wanted_as(&settings(&["email.scheduled"], &[], &[]), &queued(None)), None);
        let own = settings(&["email.sent", "email.queued"], &[], &[]);
        assert_eq!(wanted_as(&own, &queued(None)), Some("email.queued"), "one delivery, under its own name");
        for (alias, name) in ALIASES {
            assert!(!Event::NAMES.contains(alias) && Event::NAMES.contains(name));
        }
    }

    #[test]
    fn an_endpoint_is_told_of_what_happens_after_it_was_made() {
        let endpoint = |enabled, created_at| WebhookEndpoint {
            tenant: "acme".into(),
            id: "w".into(),
            url: String::new(),
            enabled,
            disabled_reason: None,
            failing_since: None,
            settings: WebhookSettings::default(),
            created_at,
            version: 1,
        };
        assert!(told_as(&endpoint(true, 1_000), &queued(None)).is_some());
        assert!(told_as(&endpoint(true, 1_001), &queued(None)).is_none());
        assert!(told_as(&endpoint(false, 1_000), &queued(None)).is_none());
    }
}
