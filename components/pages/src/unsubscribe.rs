//! Answers to requests for `/u/{token}`.

use relevo_api::unsubscribe::{SubscriberAnswer, UnsubscribeAction};

use crate::ReaderAnswer;
use crate::page::{CONTENT_SECURITY_POLICY, SubscriberPage, notice};
use crate::texts::{self, Language};
use crate::tracking::RETRY_AFTER;

/// Octets of a form that are read.
pub const MAX_FORM: usize = 1 << 10;

/// Where a request comes from, and what its pages are like.
#[derive(Debug, Clone, Copy)]
pub struct PageRequest<'a> {
    host: &'a str,
    language: Language,
}

impl<'a> PageRequest<'a> {
    /// `host` is the authority of the request. The language is the one that the field wants most.
    #[must_use]
    pub fn new(host: &'a str, accept_language: &str) -> Self {
        Self { host, language: texts::wanted(accept_language) }
    }

    /// The page about a recipient, after `action`.
    #[must_use]
    pub fn subscriber(
        &self,
        token: &str,
        action: UnsubscribeAction,
        subscriber: &SubscriberAnswer,
    ) -> ReaderAnswer {
        let path = format!("/u/{token}");
        let page =
            SubscriberPage { language: self.language, path: &path, host: self.host, subscriber, action };
        self.html(200, page.html())
    }

    /// 404: the token is not known.
    #[must_use]
    pub fn unknown(&self) -> ReaderAnswer {
        let texts = self.language.texts;
        self.html(404, notice(self.language, &texts.unknown_title, &texts.unknown))
    }

    /// 429: the client has sent too many requests.
    #[must_use]
    pub fn too_many(&self) -> ReaderAnswer {
        self.busy(429)
    }

    /// 503: it cannot be done now, and nothing was changed.
    #[must_use]
    pub fn unavailable(&self) -> ReaderAnswer {
        self.busy(503)
    }

    fn busy(&self, status: u16) -> ReaderAnswer {
        let texts = self.language.texts;
        let page = notice(self.language, &texts.busy_title, &texts.busy);
        self.html(status, page).with_retry_after(RETRY_AFTER)
    }

    fn html(&self, status: u16, page: String) -> ReaderAnswer {
        let fields = [
            ("content-type", "text/html; charset=utf-8"),
            ("content-language", self.language.tag),
            ("content-security-policy", CONTENT_SECURITY_POLICY.as_str()),
            ("vary", "accept-language"),
            ("x-content-type-options", "nosniff"),
            ("cross-origin-opener-policy", "same-origin"),
        ];
        ReaderAnswer::new(status, &fields, page)
    }
}

/// The answer to RFC 8058: the recipient has left, and it is on disk.
#[must_use]
pub fn one_click_done() -> ReaderAnswer {
    ReaderAnswer::new(200, &[("content-type", "text/plain; charset=utf-8")], "unsubscribed\n")
}

/// The value of `list` in a form; ids need no decoding.
#[must_use]
pub fn list_field(form: &[u8]) -> Option<String> {
    let form = std::str::from_utf8(form).ok()?;
    form.split('&').find_map(|pair| pair.strip_prefix("list=")).map(str::to_owned)
}
