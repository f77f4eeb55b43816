//! How the HTML of a message is shown: always in a frame of its own origin, without scripts.

use serde::Deserialize;

use crate::frame::{BODY_POLICY, BODY_POLICY_WITH_IMAGES};
use crate::texts::Language;

/// The options of a preview in a query.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct PreviewQuery {
    width: Option<String>,
    scheme: Option<String>,
    images: Option<String>,
}

/// How the HTML is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PreviewOptions {
    /// As wide as a phone.
    pub phone: bool,
    /// For readers of dark pages.
    pub dark: bool,
    /// With the images of other hosts.
    pub images: bool,
}

impl PreviewOptions {
    /// The options that a query names.
    #[must_use]
    pub fn of(query: &PreviewQuery) -> Self {
        Self {
            phone: query.width.as_deref() == Some("phone"),
            dark: query.scheme.as_deref() == Some("dark"),
            images: query.images.is_some(),
        }
    }

    /// The policy of the frame.
    #[must_use]
    pub fn policy(self) -> &'static str {
        if self.images { BODY_POLICY_WITH_IMAGES } else { BODY_POLICY }
    }

    /// The query of a page with these options, such as `?width=phone`.
    fn query(self) -> String {
        let options = [(self.phone, "width=phone"), (self.dark, "scheme=dark"), (self.images, "images=1")];
        let wanted: Vec<&str> = options.into_iter().filter(|(on, _)| *on).map(|(_, text)| text).collect();
        if wanted.is_empty() { "?".to_owned() } else { format!("?{}", wanted.join("&")) }
    }

    /// Others to choose from, with the place that they are shown at: those of a pair stand side by side.
    pub(crate) fn choices(self, l: &Language) -> Vec<Choice> {
        let choice = |text, is_chosen, options: Self| Choice { text, is_chosen, query: options.query() };
        vec![
            choice(l.say("inbox.desktop"), !self.phone, Self { phone: false, ..self }),
            choice(l.say("inbox.phone"), self.phone, Self { phone: true, ..self }),
            choice(l.say("inbox.light"), !self.dark, Self { dark: false, ..self }),
            choice(l.say("inbox.dark"), self.dark, Self { dark: true, ..self }),
            choice(l.say("inbox.without_images"), !self.images, Self { images: false, ..self }),
            choice(l.say("inbox.with_images"), self.images, Self { images: true, ..self }),
        ]
    }
}

pub(crate) struct Choice {
    pub(crate) text: &'static str,
    pub(crate) is_chosen: bool,
    pub(crate) query: String,
}
