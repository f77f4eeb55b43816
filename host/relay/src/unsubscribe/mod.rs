//! What the unsubscribe page shows and does, and RFC 8058. The token says whom, from what and who
//! sent it, so it works when the message is long forgotten.

use std::net::IpAddr;
use std::sync::Arc;

use relevo_mailkit::event::{Event, SubscriptionChange};
use relevo_mailkit::labels::{Labels, Stream};
use relevo_mailkit::token::unsubscribe::UnsubscribeClaims;
use relevo_queue::{ItemId, NewEvent};
use tracing::warn;

use crate::events;
use crate::suppressions::{Choices, MailingList, SuppressionError, Suppressions, TopicChoice, canonical};
use crate::tracking::{TokenAnswer, TrackingEndpoint};

pub use relevo_api::unsubscribe::MARKETING;

/// A request at `/u/{token}`.
#[derive(Debug, Clone, Copy)]
pub struct LinkVisit<'a> {
    /// The authority that the request names.
    pub host: &'a str,
    /// The token.
    pub token: &'a str,
    /// The client; none: the edge that answers it does not know.
    pub client: Option<IpAddr>,
    /// The only tenant whose tokens count; none: the token's host says whose it is.
    pub tenant: Option<&'a str>,
}

/// How somebody leaves or comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// RFC 8058: the mail program asks on behalf of its user.
    OneClick,
    /// A button of the page.
    Page,
}

impl Method {
    /// The name in events.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OneClick => "one_click",
            Self::Page => "page",
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// No more mail of the list.
    Leave,
    /// Mail of the list again.
    ComeBack,
}

/// What a recipient gets after a change, and the list that was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// As it is now.
    pub subscriber: Subscriber,
    /// The list that was left or come back to.
    pub list: MailingList,
}

/// The recipient that a token names, and what they get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscriber {
    /// The address, as suppressions have it.
    pub address: String,
    /// The domain that sent the message.
    pub sender: String,
    /// What the message belonged to.
    pub list: MailingList,
    /// Everything that the recipient gets and left.
    pub choices: Choices,
}

impl Subscriber {
    /// Returns true if the recipient left the list of the message.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.choices.has_left(&self.list)
    }

    /// The topics that the page lists: public ones, that of the message, and those that the
    /// recipient chose.
    pub fn topics(&self) -> impl Iterator<Item = &TopicChoice> {
        self.choices.topics.iter().filter(|choice| {
            let is_of_message =
                matches!(&self.list, MailingList::Topic(topic) if topic.id == choice.topic.id);
            is_of_message || choice.topic.public || (choice.topic.chosen_only && choice.subscribed)
        })
    }
}

/// Verifies tokens and changes what their recipients get.
#[derive(Clone)]
pub struct UnsubscribeEndpoint {
    tracking: Arc<TrackingEndpoint>,
    suppressions: Arc<Suppressions>,
}

struct Verified {
    tenant: String,
    address: String,
    claims: UnsubscribeClaims,
}

impl UnsubscribeEndpoint {
    /// Hosts, keys and rates are those of `tracking`.
    #[must_use]
    pub fn new(tracking: Arc<TrackingEndpoint>, suppressions: Arc<Suppressions>) -> Self {
        Self { tracking, suppressions }
    }

    /// `GET /u/{token}` at this authority. Nothing changes: programs follow links, too.
    ///
    /// # Errors
    /// The store's.
    pub async fn show(&self, visit: &LinkVisit<'_>) -> Result<TokenAnswer<Subscriber>, SuppressionError> {
        match self.verified(visit) {
            TokenAnswer::Genuine(verified) => Ok(TokenAnswer::Genuine(self.subscriber(&verified).await?)),
            TokenAnswer::Unknown => Ok(TokenAnswer::Unknown),
            TokenAnswer::TooMany => Ok(TokenAnswer::TooMany),
        }
    }

    /// Leaves the list of the message, or comes back to it. With `list` it is another list: a topic
    /// by its id, or [`MARKETING`]. Repeating changes nothing and is no event. A list that the page
    /// does not show is as unknown as a token that is none.
    ///
    /// # Errors
    /// The store's. Asking again completes what was begun.
    pub async fn change(
        &self,
        visit: &LinkVisit<'_>,
        (change, method): (Change, Method),
        list: Option<&str>,
    ) -> Result<TokenAnswer<Changed>, SuppressionError> {
        let verified = match self.verified(visit) {
            TokenAnswer::Genuine(verified) => verified,
            TokenAnswer::Unknown => return Ok(TokenAnswer::Unknown),
            TokenAnswer::TooMany => return Ok(TokenAnswer::TooMany),
        };
        let Verified { tenant, address, claims } = &verified;
        let subscriber = self.subscriber(&verified).await?;
        let list = match list {
            None => subscriber.list,
            Some(MARKETING) => MailingList::Marketing,
            Some(id) => match subscriber.topics().find(|choice| choice.topic.id == id) {
                Some(choice) => MailingList::Topic(choice.topic.clone()),
                None => return Ok(TokenAnswer::Unknown),
            },
        };
        let item = ItemId(claims.message);
        let changed = match change {
            Change::Leave => {
                let detail = format!("{} by {}", method.name(), item);
                self.suppressions.leave(tenant, address, &list, &detail, Some(item.to_string())).await?
            }
            Change::ComeBack => self.suppressions.come_back(tenant, address, &list, false).await?,
        };
        if changed {
            self.write(&verified, &list, change, method).await;
        }
        let subscriber = self.subscriber(&verified).await?;
        Ok(TokenAnswer::Genuine(Changed { subscriber, list }))
    }

    fn verified(&self, visit: &LinkVisit<'_>) -> TokenAnswer<Verified> {
        if !visit.client.is_none_or(|client| self.tracking.admits(client)) {
            return TokenAnswer::TooMany;
        }
        let found = self.tracking.verified_unsubscribe(visit.host, visit.token);
        let own = found.filter(|(tenant, _)| visit.tenant.is_none_or(|only| only == tenant));
        let verified = own.and_then(|(tenant, claims)| {
            let address = canonical(&claims.address).ok()?;
            Some(Verified { tenant, address, claims })
        });
        verified.map_or(TokenAnswer::Unknown, TokenAnswer::Genuine)
    }

    async fn subscriber(&self, verified: &Verified) -> Result<Subscriber, SuppressionError> {
        let Verified { tenant, address, claims } = verified;
        Ok(Subscriber {
            address: address.clone(),
            sender: claims.sender.clone(),
            list: self.suppressions.list_of(tenant, &claims.topic).await?,
            choices: self.suppressions.choices(tenant, address).await?,
        })
    }

    /// `email.unsubscribed` or `email.resubscribed`, with the labels of the message as long as they
    /// are known. The change itself is on disk already.
    async fn write(&self, verified: &Verified, list: &MailingList, change: Change, method: Method) {
        let Verified { tenant, address, claims } = verified;
        let item = ItemId(claims.message);
        let made = SubscriptionChange {
            recipient: address.clone(),
            recipient_index: claims.recipient,
            list: list.name(),
            method: method.name().to_owned(),
        };
        let event = match change {
            Change::Leave => Event::Unsubscribed(made),
            Change::ComeBack => Event::Resubscribed(made),
        };
        let labels = self.tracking.labels(item, claims.recipient).await.unwrap_or_else(|| Labels {
            stream: if claims.topic.is_empty() { Stream::Marketing } else { Stream::default() },
            topic: claims.topic.clone(),
            ..Labels::default()
        });
        let event = events::event(tenant, Some(item), self.tracking.now(), event);
        if let Err(error) = self.tracking.append(NewEvent { labels, ..event }).await {
            warn!(%error, "an unsubscription is missing in the event log");
        }
    }
}

#[cfg(test)]
mod tests;
