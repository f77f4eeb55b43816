//! What is stored with a message so that its copies can be made later.

use relevo_mailkit::model::Edit;
use serde::{Deserialize, Serialize};

use crate::Cfbl;

/// The first octet of a stored recipe. Another one is refused.
const VERSION: u8 = 6;

/// How copies are made from the stored bytes. Written once, when the message is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Recipe {
    /// Our Received field, the fields of checks and those that `validate` added, each ended by
    /// CRLF. They go above the stored bytes and below the signatures.
    pub prepend: Vec<u8>,
    /// Over the stored bytes: those of `validate` and `track`, merged and checked.
    pub edits: Vec<Edit>,
    /// Set when copies have URLs of their own, in edits or in List-Unsubscribe. Each recipient gets a copy of its own.
    pub links: Option<Links>,
    /// Absent: passes unsigned.
    pub signing: Option<Signing>,
    /// The body has octets above 127.
    pub eight_bit: bool,
    /// The header has raw UTF-8.
    pub utf8_header: bool,
    /// The message has no Date: a copy gets that of the message's release, which may still change.
    pub dated_at_release: bool,
    /// Set when copies have a CFBL-Feedback-ID. Each recipient gets a copy of its own.
    pub cfbl: Option<Cfbl>,
}

/// Where the URLs of tracked copies point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Links {
    /// Scheme and authority of the tracking host.
    pub base_url: String,
    /// Id of the key that mints; when it is gone, the first one does.
    pub key: String,
    /// Destinations.
    pub table: Vec<String>,
    /// The sending domain: the page of an unsubscribe URL names it.
    pub sender: String,
    /// Set when copies get List-Unsubscribe fields.
    pub list_unsubscribe: Option<ListUnsubscribe>,
}

/// The fields `List-Unsubscribe` and `List-Unsubscribe-Post` of copies. They have the URL of the
/// copy's recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListUnsubscribe {
    /// A mailbox that takes requests by mail, for a `mailto` URL beside the other.
    pub mailbox: Option<String>,
}

/// Who signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signing {
    /// The configured domain that covers the From domain: d=.
    pub domain: String,
    /// The selectors it had; when one is gone, the domain's current ones sign.
    pub selectors: Vec<String>,
    /// The From field, unfolded: what the signatures must cover.
    pub from_field: Vec<u8>,
}

/// A stored recipe that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    /// Written by a newer version.
    #[error("the recipe has format {0}, this version reads up to {VERSION}")]
    Newer(u8),
    /// Not a recipe.
    #[error("the recipe is damaged")]
    Damaged,
}

impl Recipe {
    /// Returns true if each recipient gets a copy of its own.
    #[must_use]
    pub fn has_own_copies(&self) -> bool {
        self.links.is_some() || self.cfbl.is_some()
    }

    /// For the queue, which stores it with the message.
    ///
    /// # Errors
    /// Never for what this crate makes; the serialiser's signature wants it.
    pub fn encode(&self) -> Result<Vec<u8>, RecipeError> {
        postcard::to_extend(self, vec![VERSION]).map_err(|_| RecipeError::Damaged)
    }

    /// Reads what [`Recipe::encode`] wrote. An empty recipe is that of bytes that go out as they
    /// are.
    ///
    /// # Errors
    /// Damaged or from a newer version.
    pub fn decode(stored: &[u8]) -> Result<Self, RecipeError> {
        match stored.split_first() {
            None => Ok(Self::default()),
            Some((&VERSION, rest)) => read(rest),
            Some((&newer, _)) if newer > VERSION => Err(RecipeError::Newer(newer)),
            Some(_) => Err(RecipeError::Damaged),
        }
    }
}

fn read(stored: &[u8]) -> Result<Recipe, RecipeError> {
    match postcard::take_from_bytes(stored) {
        Ok((recipe, [])) => Ok(recipe),
        _ => Err(RecipeError::Damaged),
    }
}

#[cfg(test)]
mod tests {
    use relevo_mailkit::model::{Encoding, Segment, Span};

    use super::*;

    fn recipe() -> Recipe {
        Recipe {
            prepend: b"Received: x\r\n".to_vec(),
            edits: vec![Edit {
                at: Span { offset: 3, length: 2 },
                encoding: Encoding::QuotedPrintable,
                segments: vec![
                    Segment::Literal(b"a".to_vec()),
                    Segment::Click(0),
                    Segment::Open,
                    Segment::Unsubscribe,
                ],
                part: Some(1),
            }],
            links: Some(Links {
                base_url: "https://t.example".into(),
                key: "k".into(),
                table: vec!["https://a.example/".into()],
                sender: "example.com".into(),
                list_unsubscribe: Some(ListUnsubscribe { mailbox: Some("leave@example.com".into()) }),
            }),
            signing: Some(Signing {
                domain: "example.com".into(),
                selectors: vec!["s1".into()],
                from_field: b"From: a@example.com".to_vec(),
            }),
            eight_bit: true,
            utf8_header: false,
            dated_at_release: false,
            cfbl: Some(Cfbl { domain: "return.example.com".into() }),
        }
    }

    #[test]
    fn reads_what_it_wrote() {
        let stored = recipe().encode().expect("encodes");
        assert_eq!(Recipe::decode(&stored), Ok(recipe()));
        assert_eq!(Recipe::decode(&[]), Ok(Recipe::default()));
    }

    #[test]
    fn refuses_newer_and_damaged_ones() {
        let mut stored = recipe().encode().expect("encodes");
        assert_eq!(Recipe::decode(&stored[..stored.len() - 1]), Err(RecipeError::Damaged));
        stored.push(0);
        assert_eq!(Recipe::decode(&stored), Err(RecipeError::Damaged));
        stored[0] = VERSION + 1;
        assert_eq!(Recipe::decode(&stored), Err(RecipeError::Newer(VERSION + 1)));
        stored[0] = 0;
        assert_eq!(Recipe::decode(&stored), Err(RecipeError::Damaged));
    }
}
