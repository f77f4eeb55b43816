//! Header fields as names and texts.

use mail_parser::{Message, MessageParser};
use relevo_mailkit::text::one_line;

/// Fields of a header that are looked at.
const MAX_FIELDS: usize = 500;
/// Octets of a field that are looked at.
const MAX_VALUE: usize = 4_096;

/// Text on one line, without what is not shown, at most `max` octets.
pub(crate) fn clean(text: &str, max: usize) -> String {
    let text = &text[..text.floor_char_boundary(MAX_VALUE.max(max))];
    let mut words = String::new();
    for word in text.split_ascii_whitespace() {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
    }
    one_line(&words, max)
}

/// A mailbox without angle brackets: what stands between the last pair, or the text itself.
pub(crate) fn mailbox(text: &str) -> String {
    let inner = text.rsplit_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(inner, _)| inner);
    clean(inner.unwrap_or(text), MAX_ADDRESS)
}

/// Octets of an address that are kept.
pub(crate) const MAX_ADDRESS: usize = 320;

/// The fields of a header, in order.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(crate) fn of(message: &Message<'_>) -> Self {
        let all = message.headers_raw().take(MAX_FIELDS);
        Self(all.map(|(name, value)| (name.to_ascii_lowercase(), clean(value, MAX_VALUE))).collect())
    }

    /// The fields at the start of a text.
    pub(crate) fn of_text(text: &str) -> Self {
        let whole = format!("{}\r\n\r\n", text.trim_start());
        MessageParser::default().parse_headers(&whole).map(|m| Self::of(&m)).unwrap_or_default()
    }

    /// The groups of fields of a report: a blank line ends one (RFC 3464 section 2.1).
    pub(crate) fn groups(text: &[u8]) -> Vec<Self> {
        let text = String::from_utf8_lossy(text);
        let mut groups = vec![Self::default()];
        for line in text.lines().take(MAX_LINES) {
            let Some(group) = groups.last_mut() else { break };
            if line.trim().is_empty() {
                if !group.0.is_empty() && groups.len() < MAX_GROUPS {
                    groups.push(Self::default());
                }
            } else if line.starts_with([' ', '\t']) {
                if let Some((_, value)) = group.0.last_mut().filter(|(_, value)| value.len() < MAX_VALUE) {
                    value.push(' ');
                    value.push_str(&clean(line, MAX_VALUE));
                }
            } else if let Some((name, value)) = line.split_once(':')
                && group.0.len() < MAX_FIELDS
            {
                let field = (name.trim().to_ascii_lowercase(), clean(value, MAX_VALUE));
                // Some mailers leave out the blank line between recipients.
                if field.0 == FINAL_RECIPIENT && group.get(FINAL_RECIPIENT).is_some() {
                    if groups.len() == MAX_GROUPS {
                        break;
                    }
                    groups.push(Self(vec![field]));
                } else {
                    group.0.push(field);
                }
            }
        }
        groups.retain(|group| !group.0.is_empty());
        groups
    }

    /// The first field of this name (lower case).
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All fields of this name (lower case).
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Groups of a report that are looked at: the one of the message, and those of recipients.
const MAX_GROUPS: usize = 65;
/// The field that a recipient's group has once.
const FINAL_RECIPIENT: &str = "final-recipient";
/// Lines of a report that are looked at.
const MAX_LINES: usize = 10_000;
