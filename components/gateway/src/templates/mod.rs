//! Stored templates at the edge: fetched from the core, kept for a time, asked about again by their
//! digest. A template that the core has withdrawn is used no longer than its time to live.

pub mod cache;

use std::collections::BTreeMap;

use relevo_api::Problem;
use relevo_api::template::{StoredTemplate, within_request};
use relevo_mailkit::model::{TemplatePartial, TemplateSource};
use serde::Deserialize;

pub use self::cache::{CachedTemplate, MemoryCache, TemplateCache, TemplateKey};
use crate::answer::Answer;

/// Octets of a template with those that it names.
const MAX_TEMPLATE: usize = 8 << 20;
/// Octets of all templates of a request.
const MAX_OCTETS: usize = 16 << 20;
/// Templates of a request.
const MAX_TEMPLATES: usize = 100;
/// Octets of the id or alias of a template, and of an entity tag.
const MAX_NAME: usize = 128;
/// Octets of what the core says about a mistake.
const MAX_MESSAGE: usize = 1_000;

/// The templates that a request names.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Templates {
    by_name: BTreeMap<String, Result<StoredTemplate, Problem>>,
    octets: usize,
}

impl Templates {
    /// What is known of a name. `version` is none for the published one. Where the core has to be
    /// asked, [`Self::add`] takes what it answered.
    pub fn look_up(
        &self,
        name: &str,
        version: Option<i64>,
        cached: Option<CachedTemplate>,
        at: Moment,
    ) -> Lookup {
        if !is_name(name) {
            return Lookup::Done(Err(not_found(format!("there is no template {name:?}"))));
        }
        if self.by_name.len() >= MAX_TEMPLATES {
            let message = format!("the request names more than {MAX_TEMPLATES} templates: send to the core");
            return Lookup::Done(Err(not_found(message)));
        }
        let path = match version {
            Some(version) => format!("/relay/templates/{name}?version={version}"),
            None => format!("/relay/templates/{name}"),
        };
        match cached {
            Some(cached) if at.is_fresh(&cached) => Lookup::Done(Ok(cached.template)),
            known => Lookup::Ask { path, known },
        }
    }

    /// Adds what a name stands for.
    pub fn add(&mut self, name: String, found: Result<StoredTemplate, Problem>) {
        let found = found.and_then(|template| {
            self.octets += octets(&template.source);
            match self.octets {
                0..=MAX_OCTETS => Ok(template),
                _ => {
                    let message =
                        format!("the templates have more than {MAX_OCTETS} octets: send to the core");
                    Err(not_found(message))
                }
            }
        });
        self.by_name.insert(name, found);
    }

    /// The template of this id or alias.
    ///
    /// # Errors
    /// The core does not have it, or not for sending.
    pub fn get(&self, name: &str) -> Result<&StoredTemplate, Problem> {
        let missing = || not_found(format!("there is no template {name:?}"));
        self.by_name.get(name).ok_or_else(missing)?.as_ref().map_err(Clone::clone)
    }
}

/// Now, and how long a template is used without asking. Both in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Since 1970.
    pub now: u64,
    /// The time to live.
    pub ttl: u64,
}

impl Moment {
    /// A clock that was set back makes a template stale, not immortal.
    fn is_fresh(self, cached: &CachedTemplate) -> bool {
        self.now.checked_sub(cached.fetched_at).is_some_and(|age| age < self.ttl)
    }
}

/// What is to be done for a template.
#[derive(Debug, Clone, PartialEq)]
pub enum Lookup {
    /// Nothing: this is it.
    Done(Result<StoredTemplate, Problem>),
    /// The core is asked, by the entity tag of what is known.
    Ask {
        /// The path of the core's API.
        path: String,
        /// An earlier answer.
        known: Option<CachedTemplate>,
    },
}

/// The core's answer about a template.
#[derive(Debug, Clone, Copy)]
pub struct TemplateReply<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The entity tag.
    pub etag: Option<&'a str>,
    /// Seconds of `Retry-After`.
    pub retry_after: Option<u32>,
    /// The body.
    pub body: &'a [u8],
}

/// Reads the core's answer and brings the cache in line with it. The result is the template, or the
/// mistake of the request that names it. `now` is when the core was asked: it may have changed its mind
/// while its answer was on the way.
///
/// # Errors
/// The answer for the caller where the core gives no template now. What is known is not used then.
pub fn receive(
    cache: &dyn TemplateCache,
    key: &TemplateKey,
    known: Option<CachedTemplate>,
    reply: TemplateReply<'_>,
    now: u64,
) -> Result<Result<StoredTemplate, Problem>, Answer> {
    match (reply.status, known) {
        (304, Some(known)) => {
            let again = CachedTemplate { fetched_at: now, ..known };
            cache.put(key, &again);
            Ok(Ok(again.template))
        }
        (200, _) if reply.body.len() > MAX_TEMPLATE => {
            cache.remove(key);
            let message = format!("the template has more than {MAX_TEMPLATE} octets: send to the core");
            Ok(Err(not_found(message)))
        }
        (200, _) => {
            let template: StoredTemplate = relevo_api::json::read(reply.body).map_err(unreadable)?;
            let tag =
                reply.etag.filter(|tag| tag.len() <= MAX_NAME && tag.bytes().all(|b| b.is_ascii_graphic()));
            if let Some(etag) = tag {
                let etag = etag.to_owned();
                cache.put(key, &CachedTemplate { etag, fetched_at: now, template: template.clone() });
            }
            Ok(Ok(template))
        }
        (404, _) => {
            cache.remove(key);
            Ok(Err(not_found(mistake(reply.body)?.message)))
        }
        // Something that it names is missing: it cannot be rendered any more.
        (422, _) => {
            cache.remove(key);
            Ok(Err(within_request(mistake(reply.body)?, "template.variables")))
        }
        (status, _) => Err(Answer::of_core_error(status, reply.body, reply.retry_after)),
    }
}

fn unreadable<E>(_: E) -> Answer {
    Answer::unavailable("the core's answer about a template cannot be read: it may be of another version")
}

/// What the core says is wrong.
fn mistake(body: &[u8]) -> Result<Problem, Answer> {
    #[derive(Deserialize)]
    struct Said {
        #[serde(default)]
        param: String,
        message: String,
    }
    let Said { mut param, mut message } = relevo_api::json::read(body).map_err(unreadable)?;
    param.truncate(param.floor_char_boundary(MAX_NAME));
    message.truncate(message.floor_char_boundary(MAX_MESSAGE));
    Ok(Problem::new(param, message))
}

fn not_found(message: String) -> Problem {
    Problem::new("template.id", message)
}

/// Ids and aliases have nothing that a URL would have to escape.
fn is_name(name: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_word) && name != "." && name != ".."
}

/// Octets of all sources.
fn octets(source: &TemplateSource) -> usize {
    let TemplateSource { subject, html, mjml, text, partials } = source;
    let of = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let partial =
        |p: &TemplatePartial| p.name.len() + p.subject.len() + of(&p.html) + of(&p.mjml) + of(&p.text);
    subject.len() + of(html) + of(mjml) + of(text) + partials.iter().map(partial).sum::<usize>()
}

#[cfg(test)]
mod tests;
