//! What was probably meant by something that is not an address.

use relevo_mailkit::address::{Address, MAX_ADDRESS};

use crate::typing::suggested_domain;

/// The address that was probably meant by text that is none, such as `<ana@example.com>`,
/// `ana @example.com`, `ana@example,com` or `ana@example..com`.
///
/// None for an address, and where nothing can be guessed.
#[must_use]
pub fn repaired(text: &str) -> Option<String> {
    if text.len() > 4 * MAX_ADDRESS || text.contains(char::is_control) || Address::parse(text).is_ok() {
        return None;
    }
    let text = between_brackets(text).trim();
    let text = strip_scheme(text).trim_matches(|c: char| ",;.:)(<>\"'".contains(c) || c.is_whitespace());
    let (local, domain) = text.rsplit_once('@')?;
    let local: String = local.chars().filter(|c| !c.is_whitespace()).collect();
    let domain: String = domain.chars().filter(|c| !c.is_whitespace()).collect();
    let domain = without_empty_labels(&domain.replace([',', ';'], "."));
    let address = Address::parse(&format!("{}@{domain}", without_empty_labels(&local))).ok()?;
    let domain = suggested_domain(&address.domain, true).unwrap_or(address.domain);
    Some(format!("{}@{domain}", address.local))
}

/// `Ana <ana@example.com>`
fn between_brackets(text: &str) -> &str {
    let inner = text.split_once('<').and_then(|(_, inner)| inner.rsplit_once('>'));
    inner.map_or(text, |(inner, _)| inner)
}

fn strip_scheme(text: &str) -> &str {
    match text.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case("mailto:") => &text[7..],
        _ => text,
    }
}

fn without_empty_labels(text: &str) -> String {
    text.split('.').filter(|label| !label.is_empty()).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn slips_of_the_keyboard_are_repaired() {
        for text in [
            "<ana@example.com>",
            "Ana <ana@example.com>",
            "ana @example.com",
            " ana@example.com",
            "ana@example,com",
            "ana@example..com",
            "ana@example.com.",
            ".ana@example.com",
            "mailto:ana@example.com>",
            "\"ana@example.com\"",
        ] {
            assert_eq!(repaired(text).as_deref(), Some("ana@example.com"), "{text:?}");
        }
        assert_eq!(repaired("ana@gmial,com").as_deref(), Some("ana@gmail.com"));
    }

    #[test]
    fn nothing_is_made_of_nothing() {
        for text in [
            "",
            "ana",
            "@example.com",
            "ana@",
            "ana@example.com",
            "ana@@",
            "a@b@",
            "\u{202e}@example.com",
            "a@b.c\r\nx",
        ] {
            assert_eq!(repaired(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_repair_is_an_address_and_another_text(text in "\\PC{0,40}|[a-z@.,<> ]{0,20}") {
            if let Some(repaired) = repaired(&text) {
                prop_assert_ne!(&repaired, &text);
                prop_assert!(Address::parse(&repaired).is_ok());
            }
        }
    }
}
