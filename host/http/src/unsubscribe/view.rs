//! What the page is made of.

use relevo_api::unsubscribe::{SubscriberAnswer, SubscriberList, SubscriberTopic};
use relevo_relay::suppressions::MailingList;
use relevo_relay::unsubscribe::{Changed, Subscriber};

/// A recipient, as the page shows them.
pub(crate) fn subscriber(subscriber: &Subscriber) -> SubscriberAnswer {
    let topics = subscriber.topics().map(|choice| SubscriberTopic {
        id: choice.topic.id.clone(),
        name: choice.topic.name.clone(),
        description: choice.topic.description.clone(),
        is_subscribed: choice.subscribed,
    });
    SubscriberAnswer {
        email: subscriber.address.clone(),
        sender: subscriber.sender.clone(),
        list: list(&subscriber.list),
        has_left: subscriber.has_left(),
        is_suppressed: subscriber.choices.suppressed,
        gets_marketing: subscriber.choices.marketing,
        topics: topics.collect(),
        changed: None,
    }
}

/// The same after a change.
pub(crate) fn changed(changed: &Changed) -> SubscriberAnswer {
    SubscriberAnswer { changed: Some(list(&changed.list)), ..subscriber(&changed.subscriber) }
}

fn list(list: &MailingList) -> SubscriberList {
    match list {
        MailingList::Marketing => SubscriberList::marketing(),
        MailingList::Topic(topic) => {
            SubscriberList { id: Some(topic.id.clone()), topic: Some(topic.name.clone()) }
        }
        MailingList::UnknownTopic(name) => SubscriberList { id: None, topic: Some(name.clone()) },
    }
}
