//! Checks of what a tenant says about an endpoint.

use relevo_fetch::Fetcher;
use relevo_mailkit::labels::Stream;
use relevo_store::{StoredTag, WebhookSettings};

use crate::WebhookError;
use crate::filter::event_names;

/// Octets of a URL.
const MAX_URL: usize = 2_000;
/// Octets of a description.
const MAX_DESCRIPTION: usize = 500;
/// Conditions on tags.
const MAX_TAGS: usize = 50;
/// Octets of a tag's name or value.
const MAX_TAG: usize = 256;
/// Fields of every request.
const MAX_HEADERS: usize = 16;
/// Octets of a field's name and of its value.
const MAX_HEADER: (usize, usize) = (64, 1_024);
/// Fields that frame the message or are ours.
const RESERVED: [&str; 9] = [
    "host",
    "connection",
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "upgrade",
    "te",
    "trailer",
];

/// Checks a URL, with the address in it if there is one. Names are looked up when they are used.
pub(crate) fn url(fetcher: &Fetcher, allow_http: bool, url: &str) -> Result<(), WebhookError> {
    if url.len() > MAX_URL {
        return Err(WebhookError::field("endpoint", format!("must have at most {MAX_URL} octets")));
    }
    fetcher.check(url, allow_http).map_err(|error| WebhookError::field("endpoint", error.to_string()))
}

pub(crate) fn settings(settings: &WebhookSettings) -> Result<(), WebhookError> {
    if settings.description.len() > MAX_DESCRIPTION {
        let message = format!("must have at most {MAX_DESCRIPTION} octets");
        return Err(WebhookError::field("description", message));
    }
    types(&settings.types)?;
    tags(&settings.tags)?;
    for (index, stream) in settings.streams.iter().enumerate() {
        let known = stream.parse::<Stream>();
        known.map_err(|message| WebhookError::field(format!("streams[{index}]"), message))?;
        refuse_twice("streams", index, &settings.streams)?;
    }
    headers(&settings.headers)
}

fn types(types: &[String]) -> Result<(), WebhookError> {
    for (index, name) in types.iter().enumerate() {
        if !event_names().any(|known| known == name) {
            let known = event_names().collect::<Vec<_>>().join(", ");
            let message = format!("there is no such event; known are {known}");
            return Err(WebhookError::field(format!("events[{index}]"), message));
        }
        refuse_twice("events", index, types)?;
    }
    Ok(())
}

fn tags(tags: &[StoredTag]) -> Result<(), WebhookError> {
    if tags.len() > MAX_TAGS {
        return Err(WebhookError::field("tags", format!("at most {MAX_TAGS} are allowed")));
    }
    for (index, tag) in tags.iter().enumerate() {
        let is_word = |text: &str| {
            text.len() <= MAX_TAG
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
        };
        let message = format!("must be ASCII letters, digits, `_` and `-`, {MAX_TAG} at most");
        if tag.name.is_empty() || !is_word(&tag.name) {
            return Err(WebhookError::field(format!("tags[{index}].name"), message));
        }
        if !tag.value.as_deref().is_none_or(is_word) {
            return Err(WebhookError::field(format!("tags[{index}].value"), message));
        }
    }
    Ok(())
}

fn headers(headers: &[(String, String)]) -> Result<(), WebhookError> {
    if headers.len() > MAX_HEADERS {
        return Err(WebhookError::field("headers", format!("at most {MAX_HEADERS} are allowed")));
    }
    for (index, (name, value)) in headers.iter().enumerate() {
        let param = format!("headers.{name}");
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || name.len() > MAX_HEADER.0 || !name.bytes().all(is_token) {
            let message = format!("is not the name of a field, or has more than {} octets", MAX_HEADER.0);
            return Err(WebhookError::field("headers", format!("`{}` {message}", name.escape_debug())));
        }
        let lower = name.to_ascii_lowercase();
        if RESERVED.contains(&lower.as_str()) || lower.starts_with("webhook-") || lower.starts_with("svix-") {
            return Err(WebhookError::field(param, "is set by the relay"));
        }
        if value.len() > MAX_HEADER.1 || !value.bytes().all(|b| matches!(b, b'\t' | b' '..=b'~')) {
            let message = format!("must be printable ASCII on one line, {} octets at most", MAX_HEADER.1);
            return Err(WebhookError::field(param, message));
        }
        if headers[..index].iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            return Err(WebhookError::field(param, "is given twice"));
        }
    }
    Ok(())
}

fn refuse_twice(param: &str, index: usize, all: &[String]) -> Result<(), WebhookError> {
    match all[..index].contains(&all[index]) {
        true => Err(WebhookError::field(format!("{param}[{index}]"), "is given twice")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(settings: &WebhookSettings) -> String {
        match super::settings(settings) {
            Ok(()) => "nothing".to_owned(),
            Err(WebhookError::Field { param, .. }) => param,
            Err(error) => error.to_string(),
        }
    }

    fn headers(name: &str, value: &str) -> WebhookSettings {
        WebhookSettings { headers: vec![(name.into(), value.into())], ..WebhookSettings::default() }
    }

    #[test]
    fn fields_cannot_forge_ours_or_another_request() {
        for (name, value, param) in [
            ("Authorization", "Bearer x", "nothing"),
            ("X-Key", "", "nothing"),
            ("Webhook-Id", "1", "headers.Webhook-Id"),
            ("svix-signature", "1", "headers.svix-signature"),
            ("HOST", "b", "headers.HOST"),
            ("Content-Length", "9", "headers.Content-Length"),
            ("x y", "1", "headers"),
            ("", "1", "headers"),
            ("x\r\ny", "1", "headers"),
            ("x", "1\r\ny: 2", "headers.x"),
            ("x", "é", "headers.x"),
        ] {
            assert_eq!(refused(&headers(name, value)), param, "{name}: {value}");
        }
        assert_eq!(refused(&headers("x", &"1".repeat(1_025))), "headers.x");
        let twice = vec![("x".to_owned(), "1".to_owned()), ("X".to_owned(), "2".to_owned())];
        assert_eq!(refused(&WebhookSettings { headers: twice, ..WebhookSettings::default() }), "headers.X");
    }

    #[test]
    fn names_must_exist() {
        let types = |names: &[&str]| WebhookSettings {
            types: names.iter().map(|name| (*name).to_owned()).collect(),
            ..WebhookSettings::default()
        };
        assert_eq!(refused(&types(&["email.delivered", "email.sent"])), "nothing");
        assert_eq!(refused(&types(&["email.delivered", "email.delivred"])), "events[1]");
        assert_eq!(refused(&types(&["email.sent", "email.sent"])), "events[1]");
        let streams = WebhookSettings { streams: vec!["bulk".into()], ..WebhookSettings::default() };
        assert_eq!(refused(&streams), "streams[0]");
        let tag = |name: &str, value: Option<&str>| WebhookSettings {
            tags: vec![StoredTag { name: name.into(), value: value.map(Into::into) }],
            ..WebhookSettings::default()
        };
        assert_eq!(refused(&tag("campaign", Some("spring"))), "nothing");
        assert_eq!(refused(&tag("", None)), "tags[0].name");
        assert_eq!(refused(&tag("a b", None)), "tags[0].name");
        assert_eq!(refused(&tag("a", Some("b c"))), "tags[0].value");
    }
}
