//! The fields of `POST /emails`: a superset of Resend's.
//!
//! The types hold what came; [`crate::check`] says whether it can be done.

use std::collections::BTreeMap;
use std::fmt;

pub use relevo_mailkit::labels::{Stream, Tag};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::bounded;
use crate::check::{MAX_ATTACHMENTS, MAX_EXCLUDED, MAX_HEADERS, MAX_METADATA, MAX_RECIPIENTS, MAX_TAGS};
use crate::mailbox::{Mailbox, MailboxList};
#[cfg(feature = "schema")]
use crate::schema::{AddressInput, AddressesInput};

/// The body of `POST /emails`, and an element of the body of `POST /emails/batch`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EmailRequest {
    /// The author. Its domain belongs to the tenant.
    #[cfg_attr(feature = "schema", schema(value_type = AddressInput))]
    pub from: Mailbox,
    /// Recipients that everybody sees. All of `to`, `cc` and `bcc` get the same message.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = AddressesInput))]
    pub to: MailboxList,
    /// Recipients that everybody sees, in `Cc`.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = AddressesInput))]
    pub cc: MailboxList,
    /// Recipients that nobody sees.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = AddressesInput))]
    pub bcc: MailboxList,
    /// One personalised message for each: in place of `to`, `cc` and `bcc`.
    #[serde(default, deserialize_with = "bounded::list::<_, _, MAX_RECIPIENTS>")]
    pub recipients: Vec<PersonalRecipient>,
    /// Addresses for answers.
    #[serde(default, alias = "replyTo")]
    #[cfg_attr(feature = "schema", schema(value_type = AddressesInput))]
    pub reply_to: MailboxList,
    /// The subject. With `recipients` it is a template.
    #[serde(default)]
    pub subject: Option<String>,
    /// The HTML body. With `recipients` it is a template.
    #[serde(default)]
    pub html: Option<String>,
    /// The text body. With `recipients` it is a template. Absent: made from the HTML; empty: none.
    #[serde(default)]
    pub text: Option<String>,
    /// Further header fields by name.
    #[serde(default, deserialize_with = "bounded::map::<_, MAX_HEADERS>")]
    pub headers: BTreeMap<String, String>,
    /// Files.
    #[serde(default, deserialize_with = "bounded::list::<_, _, MAX_ATTACHMENTS>")]
    pub attachments: Vec<Attachment>,
    /// Names and values for filters, statistics and webhooks.
    #[serde(default, deserialize_with = "bounded::list::<_, _, MAX_TAGS>")]
    pub tags: Vec<Tag>,
    /// The time of sending: RFC 3339, or a span such as `in 2 hours`. Absent: now.
    #[serde(default, alias = "scheduledAt")]
    pub scheduled_at: Option<String>,
    /// A published template, in place of `html` and `text`.
    #[serde(default)]
    pub template: Option<TemplateChoice>,
    /// Tracking of opens and clicks. Absent fields are as the domain has them.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub tracking: TrackingChoice,
    /// Keys and values that events and webhooks carry.
    #[serde(default, deserialize_with = "bounded::map::<_, MAX_METADATA>")]
    pub metadata: BTreeMap<String, String>,
    /// Kind of mail: decides about suppression and unsubscribing.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub stream: Stream,
    /// Topic that a recipient can leave without leaving the others.
    #[serde(default, alias = "topic_id", alias = "topicId")]
    pub topic: Option<String>,
    /// The time after which no further attempt is made, in the forms of `scheduled_at`.
    #[serde(default)]
    pub expires_at: Option<String>,
    /// `enforced`: only over a verified TLS connection.
    #[serde(default)]
    pub tls: Option<TlsChoice>,
    /// Everything is checked and nothing is sent.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub dry_run: bool,
}

/// A recipient of a personalised message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PersonalRecipient {
    /// The address.
    pub email: String,
    /// The display name.
    #[serde(default)]
    pub name: Option<String>,
    /// Values for the template, over those of `template.variables`.
    #[serde(default, deserialize_with = "null_is_empty")]
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub variables: Map<String, Value>,
    /// Over those of the request.
    #[serde(default, deserialize_with = "bounded::map::<_, MAX_METADATA>")]
    pub metadata: BTreeMap<String, String>,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// The name that the recipient sees.
    #[serde(default)]
    pub filename: Option<String>,
    /// The octets. Exactly one of `content` and `path` is given.
    #[serde(default)]
    pub content: Option<Content>,
    /// An https URL from which the octets are fetched.
    #[serde(default)]
    pub path: Option<String>,
    /// Media type, such as `application/pdf`. Absent: by the name's ending.
    #[serde(default, alias = "contentType")]
    pub content_type: Option<String>,
    /// HTML shows an inline part with this id as `cid:ID`.
    #[serde(default, alias = "contentId", alias = "inline_content_id", alias = "inlineContentId")]
    pub content_id: Option<String>,
}

/// Octets: base64, or an array of numbers as some clients send it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum Content {
    /// Base64 of RFC 4648 section 4, line breaks allowed.
    Base64(String),
    /// Numbers from 0 to 255. Each takes an octet in memory and two or more in the body.
    Octets(Vec<u8>),
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;
        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = Content;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64 text or an array of octets")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Base64(text.to_owned()))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Content, E> {
                Ok(Content::Base64(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Content, A::Error> {
                let mut octets = Vec::new();
                while let Some(octet) = list.next_element()? {
                    octets.push(octet);
                }
                Ok(Content::Octets(octets))
            }
        }
        deserializer.deserialize_any(ContentVisitor)
    }
}

/// A published template and values for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TemplateChoice {
    /// Id or alias.
    pub id: String,
    /// Values for every recipient.
    #[serde(default, deserialize_with = "null_is_empty")]
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub variables: Map<String, Value>,
}

/// Tracking of opens and clicks; an absent field is as the domain has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct TrackingChoice {
    /// A picture of one pixel tells that the message was opened.
    pub opens: Option<bool>,
    /// Links of the HTML part lead through the tracking host.
    pub clicks: Option<bool>,
    /// Links of the text part do, too.
    pub clicks_text: Option<bool>,
    /// Domains whose links stay as they are, subdomains included.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_EXCLUDED>")]
    pub exclude_domains: Vec<String>,
}

/// What a request demands of the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum TlsChoice {
    /// As the domain's policies say; in clear when the receiver has no TLS.
    Opportunistic,
    /// Only over a verified TLS connection.
    Enforced,
}

/// Clients send `null` for what they leave out.
pub(crate) fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}
