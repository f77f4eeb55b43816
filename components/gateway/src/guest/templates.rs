//! Stored templates: from the cache of the instance, or from the core.

use spin_sdk::http::Method;

use super::config;
use super::core::{self, CoreAnswer};
use super::imports::{Host, cache};
use crate::answer::Answer;
use crate::config::{Relay, TemplateTtl};
use crate::emails::Surroundings;
use crate::templates::{Lookup, Moment, TemplateKey, TemplateReply, Templates, receive};

/// Gets the templates of these ids or aliases, each once.
///
/// # Errors
/// The answer for the caller where the core is away, or is not well.
pub(super) async fn fetch(
    relay: &Relay,
    names: impl IntoIterator<Item = (String, Option<i64>)>,
) -> Result<Templates, Answer> {
    let mut templates = Templates::default();
    let TemplateTtl(ttl) = config(TemplateTtl::read)?;
    let cache = cache();
    #[cfg(feature = "key-value")]
    let store = super::key_value::template_store();
    #[cfg(feature = "key-value")]
    let cache = match &store {
        Some(store) => store,
        None => cache,
    };
    for (name, version) in names {
        let key = TemplateKey::new(relay, &name, version);
        let moment = Moment { now: Host.now(), ttl };
        let found = match templates.look_up(&name, version, cache.get(&key), moment) {
            Lookup::Done(found) => found,
            Lookup::Ask { path, known } => {
                let tag = known.as_ref().map(|known| ("if-none-match", known.etag.clone()));
                let fields: Vec<(&str, &str)> = tag.iter().map(|(name, tag)| (*name, &**tag)).collect();
                let answer = core::ask(relay, (Method::Get, &path), &fields, Vec::new()).await?;
                let CoreAnswer { status, retry_after, etag, body } = answer;
                let reply = TemplateReply { status, etag: etag.as_deref(), retry_after, body: &body };
                receive(cache, &key, known, reply, moment.now)?
            }
        };
        templates.add(name, found);
    }
    Ok(templates)
}
