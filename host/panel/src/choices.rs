//! Boxes of which several may be checked, in one field of a form.

use crate::forms::Fields;

/// A box.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    /// What the form sends.
    pub(crate) value: String,
    /// For people; it may be the value.
    pub(crate) text: String,
    /// Smaller than the text; may be empty.
    pub(crate) hint: String,
    pub(crate) is_checked: bool,
}

impl Choice {
    pub(crate) fn new(value: &str, text: &str, is_checked: bool) -> Self {
        Self { value: value.to_owned(), text: text.to_owned(), hint: String::new(), is_checked }
    }
}

/// The boxes that are checked in a form that was sent.
pub(crate) fn checked(fields: &Fields, name: &str) -> Vec<String> {
    fields.all(name).map(str::to_owned).collect()
}
