//! What the composition plugs in, and what the host gives.

use std::time::{SystemTime, UNIX_EPOCH};

use relevo_mailkit::model;

use super::bindings::relevo::host::signer;
use super::bindings::relevo::mail::{dkim, template};
use crate::emails::{Surroundings, Template};
use crate::signing::{Dkim, KeyName};
use crate::templates::{MemoryCache, TemplateCache};

relevo_mailkit::wit_conversions!(template: crate::guest::bindings::relevo::mail::template);
relevo_mailkit::wit_conversions!(dkim: crate::guest::bindings::relevo::mail::dkim);

/// Octets that are pushed at once.
const CHUNK: usize = 64 << 10;

/// The components `template`, `dkim` and `signer`.
pub(super) struct Import;

impl Template for Import {
    fn render(
        &self,
        source: model::TemplateSource,
        variables: &str,
        limits: model::TemplateLimits,
    ) -> Result<model::Rendered, model::TemplateError> {
        let rendered = template::render(&source.into(), variables, limits.into());
        rendered.map(Into::into).map_err(Into::into)
    }

    fn build(
        &self,
        envelope: model::MessageEnvelope,
        content: model::Rendered,
    ) -> Result<Vec<u8>, model::TemplateError> {
        template::build(&envelope.into(), &content.into()).map_err(Into::into)
    }
}

impl Dkim for Import {
    fn signing_input(
        &self,
        requests: Vec<model::SignatureRequest>,
        message: &[u8],
    ) -> Result<Vec<model::SigningInput>, String> {
        let requests: Vec<dkim::Request> = requests.into_iter().map(Into::into).collect();
        let signer = dkim::Signer::new(&requests);
        message.chunks(CHUNK).for_each(|chunk| signer.push(chunk));
        Ok(signer.finish()?.into_iter().map(Into::into).collect())
    }

    fn sign(&self, key: &KeyName, to_sign: &[u8]) -> Result<Vec<u8>, String> {
        let KeyName { domain, selector, algorithm } = key;
        signer::sign(domain, selector, algorithm.as_str(), to_sign).map_err(|error| {
            let reason = match error {
                signer::Error::UnknownKey => "the signer has no such key",
                signer::Error::Refused => "the signer refuses what it is asked to sign",
                signer::Error::Unavailable => "the signer cannot use its keys",
            };
            format!("{domain}:{selector}:{}: {reason}", algorithm.as_str())
        })
    }
}

/// Where templates are kept between requests: here in the memory of the instance.
pub(super) fn cache() -> &'static dyn TemplateCache {
    static CACHE: MemoryCache = MemoryCache::new();
    &CACHE
}

/// The clock and the randomness of the host.
pub(super) struct Host;

impl Surroundings for Host {
    fn now(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn random(&self) -> [u8; 16] {
        let mut octets = [0; 16];
        if getrandom::fill(&mut octets).is_err() {
            // Without randomness nothing can be sent: boundaries must be unguessable.
            std::process::abort();
        }
        octets
    }
}
