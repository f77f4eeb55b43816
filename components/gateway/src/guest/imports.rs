//! What the composition plugs in, and what the host gives.

use std::time::{SystemTime, UNIX_EPOCH};

use relevo_mailkit::model;

use super::bindings::relevo::mail::template;
use crate::emails::{Surroundings, Template};

relevo_mailkit::wit_conversions!(template: crate::guest::bindings::relevo::mail::template);

/// The component `template`.
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
