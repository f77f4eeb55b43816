//! What a copy has that the message did not have when it was accepted.

use std::collections::BTreeSet;

use relevo_mailkit::model::{Algorithm, Segment};
use relevo_mailkit::splice::TrackingUrls as _;
use relevo_mailkit::text::escaped;
use relevo_queue::Lease;

use super::make::{Copies, TrackedCopy, own_fields, unsubscribe_fields};
use super::sign::keys_of;
use super::{CopyError, Recipe};

/// Octets of a value that is shown.
const MAX_VALUE: usize = 4_000;

/// What the relay changed in the copy of a recipient.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// On top of the message, from above, without signatures.
    pub fields: Vec<AddedField>,
    /// Each destination once, in their order.
    pub links: Vec<RewrittenLink>,
    /// An open pixel was added.
    pub has_open_pixel: bool,
    /// Placeholders that became the recipient's unsubscribe URL.
    pub unsubscribe_links: usize,
    /// Those that the copy has with the keys of now.
    pub signatures: Vec<SignatureFacts>,
    /// Places of the stored octets that are replaced, of any kind.
    pub edits: usize,
}

/// A header field that the relay added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedField {
    /// Such as `Received`.
    pub name: String,
    /// Unfolded.
    pub value: String,
}

/// A link that leads over the tracking host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewrittenLink {
    /// The destination.
    pub from: String,
    /// The recipient's URL.
    pub to: String,
}

/// A DKIM signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureFacts {
    /// `d=`.
    pub domain: String,
    /// `s=`.
    pub selector: String,
    /// `a=`.
    pub algorithm: Algorithm,
}

impl Copies {
    /// What the copy of the one recipient of `lease` has that the message did not have.
    ///
    /// # Errors
    /// There is no copy: the recipe is damaged, or what it needs is gone.
    pub fn changes(&self, lease: &Lease) -> Result<Changes, CopyError> {
        let mut recipe = Recipe::decode(&lease.meta.recipe).map_err(|e| CopyError::Host(e.to_string()))?;
        let settings = self.settings.get();
        let fields = own_fields(&settings, lease, &mut recipe)?;
        let segments = || recipe.edits.iter().flat_map(|edit| &edit.segments);
        let count = |wanted: &Segment| segments().filter(|segment| *segment == wanted).count();
        let mut changes = Changes {
            fields: split(&fields),
            has_open_pixel: count(&Segment::Open) > 0,
            unsubscribe_links: count(&Segment::Unsubscribe),
            edits: recipe.edits.len(),
            ..Changes::default()
        };
        let clicks: BTreeSet<u32> = segments()
            .filter_map(|segment| match segment {
                Segment::Click(link) => Some(*link),
                _ => None,
            })
            .collect();
        if let Some(links) = recipe.links.take() {
            TrackedCopy::of(&settings, lease, links)?.with_urls(|urls, links| {
                changes.fields.splice(0..0, split(&unsubscribe_fields(links, urls)));
                let from = |link: &u32| links.table.get(usize::try_from(*link).unwrap_or(usize::MAX));
                let links = clicks.iter().filter_map(|link| Some((from(link)?, urls.click(*link))));
                changes.links =
                    links.map(|(from, to)| RewrittenLink { from: escaped(from, MAX_VALUE), to }).collect();
            });
        }
        if let Some(signing) = &recipe.signing
            && let Some(domain) = settings.directory.configured_domain(&signing.domain)
            && domain.tenant == lease.meta.tenant
        {
            let facts = |key: crate::settings::DkimKey| SignatureFacts {
                domain: domain.name.clone(),
                selector: key.selector,
                algorithm: key.key.algorithm(),
            };
            changes.signatures = keys_of(domain, &signing.selectors).into_iter().map(facts).collect();
        }
        Ok(changes)
    }
}

/// Splits fields that the relay made: each ends by CRLF, and a fold begins with a space or a tab.
fn split(fields: &[u8]) -> Vec<AddedField> {
    let text = String::from_utf8_lossy(fields);
    let mut all: Vec<AddedField> = Vec::new();
    for line in text.split("\r\n").filter(|line| !line.is_empty()) {
        match (line.starts_with([' ', '\t']), all.last_mut(), line.split_once(':')) {
            (true, Some(last), _) => last.value = format!("{} {}", last.value, line.trim()),
            (false, _, Some((name, value))) => {
                all.push(AddedField { name: name.to_owned(), value: value.trim().to_owned() });
            }
            _ => {}
        }
    }
    for field in &mut all {
        field.value = escaped(&field.value, MAX_VALUE);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_split_and_unfolded() {
        let fields = split(b"Received: from a\r\n\tby b;\r\n Sun\r\nDate: Mon\r\n");
        let field = |name: &str, value: &str| AddedField { name: name.into(), value: value.into() };
        assert_eq!(fields, [field("Received", "from a by b; Sun"), field("Date", "Mon")]);
        assert!(split(b"").is_empty());
    }
}
