//! The pages: HTML without scripts. Everything in them that is not ours is escaped.

use std::fmt::Write as _;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use relevo_relay::suppressions::{MailingList, TopicChoice};
use relevo_relay::unsubscribe::{Change, MARKETING, Subscriber};
use sha2::{Digest, Sha256};

use super::texts::{Language, Texts};
use crate::html::escape;

const STYLE: &str = include_str!("style.css");

/// Nothing is loaded and nothing runs; forms go to this host, and no other page shows this one.
pub(super) static CONTENT_SECURITY_POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
});

/// A page about a recipient.
pub(super) struct SubscriberPage<'a> {
    pub(super) language: Language,
    /// `/u/` and the token.
    pub(super) path: &'a str,
    /// Shown where the token does not name the sender.
    pub(super) host: &'a str,
    pub(super) subscriber: &'a Subscriber,
    /// What was just done, and to which list; none: only looked at.
    pub(super) done: Option<(Change, &'a MailingList)>,
}

/// A page that says one thing.
pub(super) fn notice(language: Language, title: &str, text: &str) -> String {
    let body = format!("<h1>{}</h1><p>{}</p>", escape(title), escape(text));
    document(language, title, &body)
}

impl SubscriberPage<'_> {
    pub(super) fn html(&self) -> String {
        let texts = self.language.texts;
        let (title, body) = match self.done {
            Some((Change::Leave, list)) => (&texts.left_title, self.left(list)),
            Some((Change::ComeBack, list)) => (&texts.returned_title, self.returned(list)),
            None if self.subscriber.has_left() => (&texts.left_title, self.left(&self.subscriber.list)),
            None => (&texts.ask_title, self.ask()),
        };
        let topics = self.topics();
        let suppressed = match self.subscriber.choices.suppressed {
            true => format!("<p class=muted>{}</p>", self.fill(&texts.suppressed, "")),
            false => String::new(),
        };
        document(self.language, title, &format!("<h1>{}</h1>{body}{suppressed}{topics}", escape(title)))
    }

    fn ask(&self) -> String {
        let texts = self.language.texts;
        let question = self.about(&self.subscriber.list, &texts.ask_marketing, &texts.ask_topic);
        format!(
            "<p>{question}</p>{}<p class=muted>{}</p>",
            self.button(Change::Leave, None, &escape(&texts.leave), ""),
            escape(&texts.ask_note)
        )
    }

    fn left(&self, list: &MailingList) -> String {
        let texts = self.language.texts;
        let said = self.about(list, &texts.left_marketing, &texts.left_topic);
        format!(
            "<p role=status>{said}</p><p class=muted>{}</p>{}",
            escape(&texts.left_note),
            self.button(Change::ComeBack, self.value(list), &escape(&texts.undo), "second")
        )
    }

    fn returned(&self, list: &MailingList) -> String {
        let texts = self.language.texts;
        let said = self.about(list, &texts.returned_marketing, &texts.returned_topic);
        let leave = self.button(Change::Leave, self.value(list), &escape(&texts.leave), "second");
        format!("<p role=status>{said}</p>{leave}")
    }

    /// What the recipient gets, each with a button; nothing where the tenant has no topics.
    fn topics(&self) -> String {
        let texts = self.language.texts;
        let mut topics = self.subscriber.topics().peekable();
        if topics.peek().is_none() {
            return String::new();
        }
        let mut out = format!("<h2>{}</h2><ul>", self.fill(&texts.topics_title, ""));
        for TopicChoice { topic, subscribed } in topics {
            self.entry(&mut out, &topic.name, &topic.description, *subscribed, &topic.id);
        }
        let (all, about) = (&texts.all_marketing, &texts.all_marketing_description);
        self.entry(&mut out, all, about, self.subscriber.choices.marketing, MARKETING);
        out + "</ul>"
    }

    fn entry(&self, out: &mut String, name: &str, about: &str, gets: bool, list: &str) {
        let texts = self.language.texts;
        let (state, label, change) = match gets {
            true => (&texts.gets, &texts.leave_one, Change::Leave),
            false => (&texts.gets_not, &texts.return_one, Change::ComeBack),
        };
        let button = self.button(change, Some(list), &self.fill(label, name), "second");
        let _ = write!(
            out,
            "<li><div><p><strong>{}</strong></p><p>{}</p><p class=muted>{}</p></div>{button}</li>",
            escape(name),
            escape(about),
            escape(state)
        );
    }

    /// `label` is escaped already.
    fn button(&self, change: Change, list: Option<&str>, label: &str, class: &str) -> String {
        let action = match change {
            Change::Leave => "leave",
            Change::ComeBack => "return",
        };
        let field = list.map_or_else(String::new, |list| {
            format!("<input type=hidden name=list value=\"{}\">", escape(list))
        });
        let path = escape(self.path);
        format!(
            "<form method=post action=\"{path}/{action}\">{field}<button class=\"{class}\">{label}</button></form>"
        )
    }

    /// The value by which a form names a list; none: that of the message.
    fn value<'l>(&self, list: &'l MailingList) -> Option<&'l str> {
        match list {
            list if *list == self.subscriber.list => None,
            MailingList::Marketing => Some(MARKETING),
            MailingList::Topic(topic) => Some(&topic.id),
            MailingList::UnknownTopic(_) => None,
        }
    }

    fn about(&self, list: &MailingList, marketing: &str, topic: &str) -> String {
        match list {
            MailingList::Marketing => self.fill(marketing, ""),
            MailingList::Topic(record) => self.fill(topic, &record.name),
            MailingList::UnknownTopic(name) => self.fill(topic, name),
        }
    }

    fn fill(&self, text: &str, topic: &str) -> String {
        let sender = match self.subscriber.sender.as_str() {
            "" => self.host,
            sender => sender,
        };
        fill(text, &[("sender", sender), ("address", &self.subscriber.address), ("topic", topic)])
    }
}

/// The text with its names replaced by values, escaped. Values are not looked at again.
fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let found = after.split_once('}').and_then(|(name, after)| {
            values.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value, after))
        });
        out.push_str(&escape(before));
        let (value, after) = found.unwrap_or(("{", after));
        out.push_str(&isolated(value));
        rest = after;
    }
    out + &escape(rest)
}

/// A value of another direction does not turn the text round it.
fn isolated(value: &str) -> String {
    format!("<bdi>{}</bdi>", escape(value))
}

fn document(language: Language, title: &str, body: &str) -> String {
    let Language { tag, texts: Texts { direction, .. } } = language;
    format!(
        "<!doctype html><html lang={tag} dir={direction}><head><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\
         <meta name=robots content=noindex><title>{}</title><style>{STYLE}</style></head>\
         <body><main>{body}</main></body></html>",
        escape(title)
    )
}

#[cfg(test)]
mod tests {
    use relevo_relay::suppressions::Choices;
    use relevo_relay::topics::TopicRecord;

    use super::*;
    use crate::unsubscribe::texts;

    fn subscriber() -> Subscriber {
        Subscriber {
            address: "<b>@b.example".into(),
            sender: "example.com".into(),
            list: MailingList::UnknownTopic("{address}<script>".into()),
            choices: Choices { suppressed: false, marketing: true, topics: Vec::new(), left: Vec::new() },
        }
    }

    fn page(subscriber: &Subscriber, done: Option<(Change, &MailingList)>) -> String {
        let language = texts::wanted("en");
        SubscriberPage { language, path: "/u/TOKEN", host: "t.example.com", subscriber, done }.html()
    }

    #[test]
    fn what_came_from_outside_is_escaped() {
        let html = page(&subscriber(), None);
        assert!(html.contains("<bdi>{address}&lt;script&gt;</bdi>"), "{html}");
        assert!(html.contains("&lt;b&gt;@b.example") && !html.contains("<script"), "{html}");
        assert!(html.contains("<form method=post action=\"/u/TOKEN/leave\">"), "{html}");
    }

    #[test]
    fn a_sender_that_is_not_known_is_the_host() {
        let html = page(&Subscriber { sender: String::new(), ..subscriber() }, None);
        assert!(html.contains("t.example.com"), "{html}");
    }

    #[test]
    fn topics_have_buttons_that_name_them() {
        let topic = |id: &str, name: &str| TopicRecord {
            id: id.into(),
            name: name.into(),
            description: "About it".into(),
            chosen_only: false,
            public: true,
            created_at: 0,
        };
        let mut one = subscriber();
        one.choices.topics = vec![
            TopicChoice { topic: topic("T1", "News"), subscribed: true },
            TopicChoice { topic: topic("T2", "Offers"), subscribed: false },
        ];
        let html = page(&one, None);
        for expected in [
            "value=\"T1\"><button class=\"second\">Stop <bdi>News</bdi></button>",
            "value=\"T2\"><button class=\"second\">Get <bdi>Offers</bdi></button>",
            "value=\"marketing\"><button class=\"second\">Stop <bdi>All marketing mail</bdi></button>",
        ] {
            assert!(html.contains(expected), "{expected}\n{html}");
        }
        let left = MailingList::Topic(topic("T1", "News"));
        let html = page(&one, Some((Change::Leave, &left)));
        assert!(html.contains("/return\"><input type=hidden name=list value=\"T1\">"), "{html}");
    }
}
