//! What readers of mail see at a tracking host, the same natively and at the edge.
//!
//! * [`tracking`]: redirects, the pixel, one line of words.
//! * [`unsubscribe`]: the unsubscribe page, and the answer to one-click unsubscribing.
//! * [`html`]: text in HTML.
//!
//! Pure: no clock, no store, no IO. An answer is a status, fields and octets.

pub mod html;
pub mod language;
mod page;
mod texts;
pub mod tracking;
pub mod unsubscribe;

/// An answer to a reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Names, in lower case, and values of the fields.
    pub fields: Vec<(&'static str, String)>,
    /// The octets.
    pub body: Vec<u8>,
}

impl ReaderAnswer {
    /// An answer that no cache keeps, no crawler lists, and no other page hears of.
    fn new(status: u16, fields: &[(&'static str, &str)], body: impl Into<Vec<u8>>) -> Self {
        let common =
            [("cache-control", "no-store"), ("referrer-policy", "no-referrer"), ("x-robots-tag", "noindex")];
        let fields = common.iter().chain(fields).map(|(name, value)| (*name, (*value).to_owned()));
        Self { status, fields: fields.collect(), body: body.into() }
    }

    /// Says after how many seconds the reader may try again.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.fields.push(("retry-after", seconds.to_string()));
        self
    }

    /// The first value of a field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}
