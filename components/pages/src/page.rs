//! The pages: HTML without scripts. Everything in them that is not ours is escaped.

use std::fmt::Write as _;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use relevo_api::unsubscribe::{
    MARKETING, SubscriberAnswer, SubscriberList, SubscriberTopic, UnsubscribeAction,
};
use sha2::{Digest, Sha256};

use crate::html::escape;
use crate::texts::{Language, Texts};

const STYLE: &str = include_str!("style.css");

/// Nothing is loaded and nothing runs; forms go to this host, and no other page shows this one.
pub(crate) static CONTENT_SECURITY_POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
});

/// A page about a recipient.
pub(crate) struct SubscriberPage<'a> {
    pub(crate) language: Language,
    /// `/u/` and the token.
    pub(crate) path: &'a str,
    /// Shown where the token does not name the sender.
    pub(crate) host: &'a str,
    /// Says in `changed` which list was left or come back to.
    pub(crate) subscriber: &'a SubscriberAnswer,
    /// What was just done.
    pub(crate) action: UnsubscribeAction,
}

/// A page that says one thing.
pub(crate) fn notice(language: Language, title: &str, text: &str) -> String {
    let body = format!("<h1>{}</h1><p>{}</p>", escape(title), escape(text));
    document(language, title, &body)
}

impl SubscriberPage<'_> {
    pub(crate) fn html(&self) -> String {
        let texts = self.language.texts;
        let (title, body) = match (self.action, &self.subscriber.changed) {
            (UnsubscribeAction::Leave, Some(list)) => (&texts.left_title, self.left(list)),
            (UnsubscribeAction::Return, Some(list)) => (&texts.returned_title, self.returned(list)),
            _ if self.subscriber.has_left => (&texts.left_title, self.left(&self.subscriber.list)),
            _ => (&texts.ask_title, self.ask()),
        };
        let topics = self.topics();
        let suppressed = match self.subscriber.is_suppressed {
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
            self.button(UnsubscribeAction::Leave, None, &escape(&texts.leave), ""),
            escape(&texts.ask_note)
        )
    }

    fn left(&self, list: &SubscriberList) -> String {
        let texts = self.language.texts;
        let said = self.about(list, &texts.left_marketing, &texts.left_topic);
        format!(
            "<p role=status>{said}</p><p class=muted>{}</p>{}",
            escape(&texts.left_note),
            self.button(UnsubscribeAction::Return, self.value(list), &escape(&texts.undo), "second")
        )
    }

    fn returned(&self, list: &SubscriberList) -> String {
        let texts = self.language.texts;
        let said = self.about(list, &texts.returned_marketing, &texts.returned_topic);
        let leave = self.button(UnsubscribeAction::Leave, self.value(list), &escape(&texts.leave), "second");
        format!("<p role=status>{said}</p>{leave}")
    }

    /// What the recipient gets, each with a button; nothing where the tenant has no topics.
    fn topics(&self) -> String {
        let texts = self.language.texts;
        if self.subscriber.topics.is_empty() {
            return String::new();
        }
        let mut out = format!("<h2>{}</h2><ul>", self.fill(&texts.topics_title, ""));
        for SubscriberTopic { id, name, description, is_subscribed } in &self.subscriber.topics {
            self.entry(&mut out, name, description, *is_subscribed, id);
        }
        let (all, about) = (&texts.all_marketing, &texts.all_marketing_description);
        self.entry(&mut out, all, about, self.subscriber.gets_marketing, MARKETING);
        out + "</ul>"
    }

    fn entry(&self, out: &mut String, name: &str, about: &str, gets: bool, list: &str) {
        let texts = self.language.texts;
        let (state, label, change) = match gets {
            true => (&texts.gets, &texts.leave_one, UnsubscribeAction::Leave),
            false => (&texts.gets_not, &texts.return_one, UnsubscribeAction::Return),
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
    fn button(&self, change: UnsubscribeAction, list: Option<&str>, label: &str, class: &str) -> String {
        let action = match change {
            UnsubscribeAction::Return => "return",
            UnsubscribeAction::Leave | UnsubscribeAction::Show => "leave",
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
    fn value<'l>(&self, list: &'l SubscriberList) -> Option<&'l str> {
        list.id.as_deref().filter(|_| *list != self.subscriber.list)
    }

    fn about(&self, list: &SubscriberList, marketing: &str, topic: &str) -> String {
        match &list.topic {
            None => self.fill(marketing, ""),
            Some(name) => self.fill(topic, name),
        }
    }

    fn fill(&self, text: &str, topic: &str) -> String {
        let sender = match self.subscriber.sender.as_str() {
            "" => self.host,
            sender => sender,
        };
        fill(text, &[("sender", sender), ("address", &self.subscriber.email), ("topic", topic)])
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
    use super::*;
    use crate::texts;

    fn subscriber() -> SubscriberAnswer {
        SubscriberAnswer {
            email: "<b>@b.example".into(),
            sender: "example.com".into(),
            list: SubscriberList { id: None, topic: Some("{address}<script>".into()) },
            has_left: false,
            is_suppressed: false,
            gets_marketing: true,
            topics: Vec::new(),
            changed: None,
        }
    }

    fn page(subscriber: &SubscriberAnswer, action: UnsubscribeAction) -> String {
        let language = texts::wanted("en");
        SubscriberPage { language, path: "/u/TOKEN", host: "t.example.com", subscriber, action }.html()
    }

    #[test]
    fn what_came_from_outside_is_escaped() {
        let html = page(&subscriber(), UnsubscribeAction::Show);
        assert!(html.contains("<bdi>{address}&lt;script&gt;</bdi>"), "{html}");
        assert!(html.contains("&lt;b&gt;@b.example") && !html.contains("<script"), "{html}");
        assert!(html.contains("<form method=post action=\"/u/TOKEN/leave\">"), "{html}");
    }

    #[test]
    fn a_sender_that_is_not_known_is_the_host() {
        let html = page(&SubscriberAnswer { sender: String::new(), ..subscriber() }, UnsubscribeAction::Show);
        assert!(html.contains("t.example.com"), "{html}");
    }

    #[test]
    fn what_was_done_is_said() {
        let one = SubscriberAnswer { changed: Some(SubscriberList::marketing()), ..subscriber() };
        let undo = "/return\"><input type=hidden name=list value=\"marketing\">";
        let left = page(&one, UnsubscribeAction::Leave);
        assert!(left.contains("You are unsubscribed") && left.contains(undo), "{left}");
        let back = page(&one, UnsubscribeAction::Return);
        assert!(back.contains("You are subscribed again"), "{back}");
        let before = page(&SubscriberAnswer { has_left: true, ..subscriber() }, UnsubscribeAction::Show);
        assert!(before.contains("You are unsubscribed"), "{before}");
    }

    #[test]
    fn topics_have_buttons_that_name_them() {
        let topic = |id: &str, name: &str, is_subscribed| SubscriberTopic {
            id: id.into(),
            name: name.into(),
            description: "About it".into(),
            is_subscribed,
        };
        let mut one = subscriber();
        one.topics = vec![topic("T1", "News", true), topic("T2", "Offers", false)];
        let html = page(&one, UnsubscribeAction::Show);
        for expected in [
            "value=\"T1\"><button class=\"second\">Stop <bdi>News</bdi></button>",
            "value=\"T2\"><button class=\"second\">Get <bdi>Offers</bdi></button>",
            "value=\"marketing\"><button class=\"second\">Stop <bdi>All marketing mail</bdi></button>",
        ] {
            assert!(html.contains(expected), "{expected}\n{html}");
        }
        one.changed = Some(SubscriberList { id: Some("T1".into()), topic: Some("News".into()) });
        let html = page(&one, UnsubscribeAction::Leave);
        assert!(html.contains("/return\"><input type=hidden name=list value=\"T1\">"), "{html}");
    }
}
