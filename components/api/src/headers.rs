//! The `X-Relevo-*` header fields: the options of a request for programs that send by SMTP.
//!
//! | field | value |
//! | --- | --- |
//! | `X-Relevo-Tag` | `name` or `name=value`; may be given several times |
//! | `X-Relevo-Metadata` | a JSON object of texts |
//! | `X-Relevo-Template` | id or alias of a published template |
//! | `X-Relevo-Variables` | a JSON object: values for the template |
//! | `X-Relevo-Track` | `yes`, `no`, or a list such as `opens=no, clicks=yes, clicks_text=no, exclude=example.com` |
//! | `X-Relevo-Stream` | `transactional` or `marketing` |
//! | `X-Relevo-Topic` | the topic's name |
//! | `X-Relevo-Send-At`, `X-Relevo-Expires-At` | RFC 3339, a date of RFC 5322, or a span such as `in 2 hours` |
//! | `X-Relevo-Idempotency-Key` | 1 to 256 printable ASCII characters |
//! | `X-Relevo-Tls` | `enforced` or `opportunistic` |
//!
//! Limits and rules are those of [`crate::check`].

use std::collections::BTreeMap;

use relevo_mailkit::model::MessageOptions;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::bounded;
use crate::check::{self, Limits, Problems};
use crate::json;
use crate::problem::{InvalidRequest, Problem};
use crate::request::{Tag, TlsChoice, TrackingChoice};

/// The beginning of the names, lower case.
pub const PREFIX: &str = "x-relevo-";
/// Octets of a value, decoded.
const MAX_VALUE: usize = 64 << 10;

/// The fields by the rest of their names as [`json::nearest`] compares them.
const FIELDS: [(&str, &str); 11] = [
    ("tag", "X-Relevo-Tag"),
    ("metadata", "X-Relevo-Metadata"),
    ("template", "X-Relevo-Template"),
    ("variables", "X-Relevo-Variables"),
    ("track", "X-Relevo-Track"),
    ("stream", "X-Relevo-Stream"),
    ("topic", "X-Relevo-Topic"),
    ("send_at", "X-Relevo-Send-At"),
    ("expires_at", "X-Relevo-Expires-At"),
    ("idempotency_key", "X-Relevo-Idempotency-Key"),
    ("tls", "X-Relevo-Tls"),
];

/// True for the name of a header field that this module reads or refuses.
#[must_use]
pub fn is_option(name: &str) -> bool {
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// The options of one message, field by field.
#[derive(Debug, Clone)]
pub struct OptionFields {
    now: u64,
    options: MessageOptions,
    tags: Vec<Tag>,
    /// The values of the fields that may occur once, by their place in [`FIELDS`].
    values: [Option<String>; FIELDS.len()],
}

impl OptionFields {
    /// For a message that came at `now`, in milliseconds since 1970.
    #[must_use]
    pub fn new(now: u64) -> Self {
        Self { now, options: MessageOptions::default(), tags: Vec::new(), values: Default::default() }
    }

    /// Takes a field whose name [`is_option`]. The value is unfolded and decoded.
    ///
    /// # Errors
    /// The field is not known, is given twice, or its value is too long.
    pub fn take(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        let rest = name.get(PREFIX.len()..).unwrap_or_default().to_ascii_lowercase().replace('-', "_");
        let Some(index) = FIELDS.iter().position(|(known, _)| *known == rest) else {
            return Err(unknown(name, &rest));
        };
        let field = FIELDS[index].1;
        if value.len() > MAX_VALUE {
            return Err(Problem::new(field, format!("more than {MAX_VALUE} octets")));
        }
        if field == "X-Relevo-Tag" {
            return self.tag(field, value.trim());
        }
        match self.values[index].replace(value.trim().to_owned()) {
            Some(_) => Err(Problem::new(field, "is given twice")),
            None => Ok(()),
        }
    }

    /// What the fields ask for.
    ///
    /// # Errors
    /// The first field whose value is wrong.
    pub fn finish(mut self) -> Result<MessageOptions, Problem> {
        let values = std::mem::take(&mut self.values);
        for ((_, field), value) in FIELDS.iter().zip(&values) {
            if let Some(value) = value {
                self.value(field, value)?;
            }
        }
        self.times(&values)?;
        if self.options.variables.is_some() && self.options.template.is_none() {
            return Err(Problem::new("X-Relevo-Variables", "there is no X-Relevo-Template that uses them"));
        }
        self.labels()?;
        self.options.tags = self.tags.into_iter().map(|tag| (tag.name, tag.value)).collect();
        Ok(self.options)
    }

    fn tag(&mut self, field: &str, text: &str) -> Result<(), Problem> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        self.tags.push(Tag { name: name.trim().to_owned(), value: value.trim().to_owned() });
        let mut problems = Problems::default();
        problems.at_most(field, "tags", self.tags.len(), check::MAX_TAGS);
        let newest = self.tags.last().map(std::slice::from_ref).unwrap_or_default();
        check::tags(newest, &mut problems);
        first(problems).map_err(|problem| Problem::new(field, problem.message))
    }

    /// Tags and metadata of a message have a bound together.
    fn labels(&self) -> Result<(), Problem> {
        let tags = check::pairs_octets(self.tags.iter().map(|tag| (&tag.name, &tag.value)));
        let metadata = check::pairs_octets(self.options.metadata.iter().map(|(key, value)| (key, value)));
        let mut problems = Problems::default();
        problems.labels("X-Relevo-Tag", tags);
        problems.labels("X-Relevo-Metadata", tags + metadata);
        first(problems)
    }

    fn value(&mut self, field: &str, value: &str) -> Result<(), Problem> {
        match field {
            "X-Relevo-Metadata" => self.metadata(field, value)?,
            "X-Relevo-Variables" => {
                let variables: Map<String, Value> = object(field, value)?;
                self.options.variables = Some(Value::Object(variables).to_string());
            }
            "X-Relevo-Template" => self.options.template = Some(name(field, value)?),
            "X-Relevo-Topic" => self.options.topic = Some(name(field, value)?),
            "X-Relevo-Track" => self.track(field, value)?,
            "X-Relevo-Stream" => {
                let stream = value.to_ascii_lowercase().parse();
                self.options.stream = Some(stream.map_err(|message: String| Problem::new(field, message))?);
            }
            "X-Relevo-Idempotency-Key" => {
                check::idempotency_key(value).map_err(|message| Problem::new(field, message))?;
                self.options.idempotency_key = Some(value.to_owned());
            }
            "X-Relevo-Tls" => {
                self.options.enforce_tls = match tls(value) {
                    Some(choice) => choice == TlsChoice::Enforced,
                    None => return Err(Problem::new(field, "neither `enforced` nor `opportunistic`")),
                };
            }
            _ => {}
        }
        Ok(())
    }

    fn metadata(&mut self, field: &str, value: &str) -> Result<(), Problem> {
        let Metadata(metadata) = object(field, value)?;
        let mut problems = Problems::default();
        check::metadata(field, &metadata, &mut problems);
        first(problems)?;
        self.options.metadata = metadata.into_iter().collect();
        Ok(())
    }

    fn track(&mut self, field: &str, value: &str) -> Result<(), Problem> {
        let choice = tracking(value).map_err(|message| Problem::new(field, message))?;
        let mut problems = Problems::default();
        let excluded = check::excluded_domains(field, &choice.exclude_domains, &mut problems);
        first(problems)?;
        self.options.opens = choice.opens;
        self.options.clicks = choice.clicks;
        self.options.text_links = choice.clicks_text;
        self.options.exclude_domains = excluded;
        Ok(())
    }

    fn times(&mut self, values: &[Option<String>]) -> Result<(), Problem> {
        let of = |field: &str| {
            let index = FIELDS.iter().position(|(_, known)| *known == field)?;
            values.get(index)?.as_deref()
        };
        let fields = ["X-Relevo-Send-At", "X-Relevo-Expires-At"];
        let mut problems = Problems::default();
        let times = check::times(fields, fields.map(of), &Limits::default(), self.now, &mut problems);
        first(problems)?;
        [self.options.send_at, self.options.expires_at] = times;
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Metadata(
    #[serde(deserialize_with = "bounded::map::<_, { check::MAX_METADATA }>")] BTreeMap<String, String>,
);

fn unknown(name: &str, rest: &str) -> Problem {
    let known: Vec<&str> = FIELDS.iter().map(|(rest, _)| *rest).collect();
    let near = json::nearest(rest, &known);
    let message = match FIELDS.iter().find(|(rest, _)| Some(*rest) == near) {
        Some((_, field)) => format!("unknown field, did you mean `{field}`?"),
        None => {
            let known: Vec<&str> = FIELDS.iter().map(|(_, field)| &field[PREFIX.len()..]).collect();
            format!("unknown field, known are X-Relevo- with {}", known.join(", "))
        }
    };
    // A name may be as long as a line.
    Problem::new(name.get(..64).unwrap_or(name), message)
}

fn first(problems: Problems) -> Result<(), Problem> {
    problems.into_first().map_or(Ok(()), Err)
}

fn name(field: &str, value: &str) -> Result<String, Problem> {
    let mut problems = Problems::default();
    problems.name(field, value);
    first(problems).map(|()| value.to_owned())
}

/// A JSON object; the path of a mistake is part of its message.
fn object<T: DeserializeOwned>(field: &str, value: &str) -> Result<T, Problem> {
    if value.is_empty() {
        return Err(Problem::new(field, "is empty, a JSON object is wanted"));
    }
    json::read(value.as_bytes()).map_err(|invalid| match invalid {
        InvalidRequest::Json { column, message, .. } => {
            Problem::new(field, format!("not JSON: {message} at column {column}"))
        }
        InvalidRequest::Fields(mut problems) if !problems.is_empty() => {
            let Problem { param, message } = problems.swap_remove(0);
            match param.as_str() {
                "" => Problem::new(field, message),
                param => Problem::new(field, format!("`{param}`: {message}")),
            }
        }
        InvalidRequest::Fields(_) => Problem::new(field, "a JSON object is wanted"),
    })
}

fn tls(value: &str) -> Option<TlsChoice> {
    match value.to_ascii_lowercase().as_str() {
        "enforced" => Some(TlsChoice::Enforced),
        "opportunistic" => Some(TlsChoice::Opportunistic),
        _ => None,
    }
}

/// `yes`, `no`, or a list of `opens`, `clicks`, `clicks_text` and `exclude` with their values.
fn tracking(text: &str) -> Result<TrackingChoice, String> {
    if let Some(all) = yes_or_no(text) {
        return Ok(TrackingChoice { opens: Some(all), clicks: Some(all), ..TrackingChoice::default() });
    }
    let mut choice = TrackingChoice::default();
    for entry in text.split([',', ';']).map(str::trim).filter(|entry| !entry.is_empty()) {
        let (key, value) =
            entry.split_once('=').ok_or("not `yes`, `no` or a list such as `opens=no, clicks=yes`")?;
        let (key, value) = (key.trim().to_ascii_lowercase().replace('-', "_"), value.trim());
        let place = match key.as_str() {
            "exclude" => {
                choice.exclude_domains.push(value.to_owned());
                continue;
            }
            "opens" => &mut choice.opens,
            "clicks" => &mut choice.clicks,
            "clicks_text" => &mut choice.clicks_text,
            _ => {
                let key = key.escape_debug();
                return Err(format!("`{key}` is none of `opens`, `clicks`, `clicks_text` and `exclude`"));
            }
        };
        let value = yes_or_no(value).ok_or_else(|| format!("`{key}` is neither `yes` nor `no`"))?;
        if place.replace(value).is_some() {
            return Err(format!("`{key}` is given twice"));
        }
    }
    match choice == TrackingChoice::default() {
        true => Err("is empty: `yes`, `no` or a list such as `opens=no, clicks=yes` is wanted".to_owned()),
        false => Ok(choice),
    }
}

fn yes_or_no(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" => Some(true),
        "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
