//! Text as words: lower case, no accents, one space between them.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Stands for a mail address. Phrases write it as `@`.
pub(crate) const ADDRESS: char = '\u{e000}';
/// Stands for an IP address. Phrases write it as `#`.
pub(crate) const IP: char = '\u{e001}';

/// Appends `text` as words, each followed by a space. Whatever is neither letter nor digit ends a
/// word.
pub(crate) fn push_words(out: &mut String, text: &str) {
    let mut is_open = false;
    for c in text.chars() {
        if c.is_ascii() {
            is_open = push(out, c.to_ascii_lowercase(), is_open);
            continue;
        }
        if c == ADDRESS || c == IP {
            continue;
        }
        for c in std::iter::once(c).nfkd().filter(|c| !is_combining_mark(*c)) {
            match plain(c) {
                Some(letters) => {
                    for letter in letters.chars() {
                        is_open = push(out, letter, is_open);
                    }
                }
                None => {
                    for c in c.to_lowercase() {
                        is_open = push(out, c, is_open);
                    }
                }
            }
        }
    }
    end(out, is_open);
}

/// Appends a placeholder as a word.
pub(crate) fn push_placeholder(out: &mut String, placeholder: char) {
    out.push(placeholder);
    out.push(' ');
}

/// A phrase as words, without spaces at its ends. `@` and `#` stand for addresses.
pub(crate) fn phrase_words(phrase: &str) -> String {
    let mut out = String::new();
    let mut rest = phrase;
    while let Some(at) = rest.find(['@', '#']) {
        push_words(&mut out, &rest[..at]);
        push_placeholder(&mut out, if rest[at..].starts_with('@') { ADDRESS } else { IP });
        rest = &rest[at + 1..];
    }
    push_words(&mut out, rest);
    out.truncate(out.trim_end().len());
    out
}

fn push(out: &mut String, c: char, is_open: bool) -> bool {
    if c.is_alphanumeric() {
        out.push(c);
        return true;
    }
    end(out, is_open);
    false
}

fn end(out: &mut String, is_open: bool) {
    if is_open {
        out.push(' ');
    }
}

/// Latin letters that no decomposition makes plain.
fn plain(c: char) -> Option<&'static str> {
    Some(match c {
        'ł' | 'Ł' => "l",
        'ø' | 'Ø' => "o",
        'đ' | 'Đ' | 'ð' | 'Ð' => "d",
        'ı' => "i",
        'ß' => "ss",
        'æ' | 'Æ' => "ae",
        'œ' | 'Œ' => "oe",
        'þ' | 'Þ' => "th",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> String {
        let mut out = String::new();
        push_words(&mut out, text);
        out
    }

    #[test]
    fn accents_case_and_marks_do_not_count() {
        assert_eq!(words("Boîte   du DESTINATAIRE, pleine!"), "boite du destinataire pleine ");
        assert_eq!(words("Skrzynka pełna; Straße"), "skrzynka pelna strasse ");
        assert_eq!(words("Почтовый ящик переполнен"), "почтовыи ящик переполнен ");
        assert_eq!(
            words("該当するユーザーが存在しません"),
            words("該当するユーサ\u{3099}ーか\u{3099}存在しません")
        );
        assert_eq!(words("--- \u{e000} ..."), "");
    }

    #[test]
    fn a_phrase_is_normalised_like_text() {
        assert_eq!(phrase_words("User @ isn't known"), format!("user {ADDRESS} isn t known"));
        assert_eq!(phrase_words("IP #"), format!("ip {IP}"));
        assert_eq!(phrase_words(" - "), "");
    }
}
