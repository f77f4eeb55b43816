//! `POST /relay/unsubscribe`: what the edge gateway asks the core for the unsubscribe page and for
//! one-click unsubscribing (RFC 8058), and the answer that the page is made of.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::request::null_is_empty;

/// Names marketing mail where a topic is named by its id.
pub const MARKETING: &str = "marketing";

/// The body of `POST /relay/unsubscribe`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct UnsubscribeRequest {
    /// The tracking host as the request named it, with a port or without.
    pub host: String,
    /// The token of the path.
    pub token: String,
    /// What to do.
    pub action: UnsubscribeAction,
    /// Who asks.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub method: UnsubscribeMethod,
    /// Another list than that of the message: `marketing`, or the id of a topic that the page shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<String>,
    /// The address of the client, where the edge knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub address: Option<IpAddr>,
}

/// What is asked for at an unsubscribe URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum UnsubscribeAction {
    /// The page. Nothing changes.
    Show,
    /// No more mail of the list.
    Leave,
    /// Mail of the list again.
    Return,
}

/// How somebody leaves or comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum UnsubscribeMethod {
    /// A button of the page.
    #[default]
    Page,
    /// RFC 8058: the mail program asks on behalf of its user.
    OneClick,
}

/// The recipient that a token names, and what they get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SubscriberAnswer {
    /// The address, as suppressions have it.
    pub email: String,
    /// The domain that sent the message; empty: the token does not name it.
    pub sender: String,
    /// The list of the message.
    pub list: SubscriberList,
    /// The recipient left the list of the message.
    pub has_left: bool,
    /// The recipient gets nothing at all: the address bounced, complained, or was listed by hand.
    pub is_suppressed: bool,
    /// The recipient gets marketing mail.
    pub gets_marketing: bool,
    /// The topics that the page lists.
    pub topics: Vec<SubscriberTopic>,
    /// The list that was left or come back to. Absent: nothing was asked to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<SubscriberList>,
}

/// What a message belongs to, and a recipient can leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SubscriberList {
    /// `marketing`, or the id of a topic. Absent: mail names the topic, and there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The name of the topic. Absent: all marketing mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
}

/// A topic, and whether a recipient gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SubscriberTopic {
    /// The id, by which forms name it.
    pub id: String,
    /// The name.
    pub name: String,
    /// For recipients.
    pub description: String,
    /// Its mail is sent to the recipient.
    pub is_subscribed: bool,
}

impl SubscriberList {
    /// All marketing mail.
    #[must_use]
    pub fn marketing() -> Self {
        Self { id: Some(MARKETING.to_owned()), topic: None }
    }
}
