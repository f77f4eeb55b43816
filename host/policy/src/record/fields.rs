//! Values that name nobody: of the words that a standard lists, never free text.

use super::words::is_domain;

/// Header fields, in lower case, and the words that they are kept with. What follows the word is a parameter or a comment, and goes.
const FIELDS: [(&str, &[&str]); 9] = [
    ("mime-version", &["1.0"]),
    ("content-transfer-encoding", &["7bit", "8bit", "binary", "quoted-printable", "base64"]),
    ("content-disposition", &["inline", "attachment", "form-data"]),
    ("auto-submitted", &["no", "auto-generated", "auto-replied", "auto-notified"]),
    ("precedence", &["bulk", "list", "junk", "first-class", "special-delivery"]),
    ("importance", &["low", "normal", "high"]),
    ("priority", &["normal", "urgent", "non-urgent"]),
    ("x-priority", &["1", "2", "3", "4", "5"]),
    ("x-msmail-priority", &["low", "normal", "high"]),
];
/// RFC 2045 section 5.1, RFC 8081, RFC 6657 and what IANA added.
const MEDIA_TYPES: [&str; 10] =
    ["text", "image", "audio", "video", "font", "model", "application", "multipart", "message", "haptics"];
/// Octets of a subtype (RFC 6838 section 4.2), and of the name of a charset (RFC 2978 section 2.3).
const SUBTYPE: usize = 127;
const CHARSET: usize = 40;
/// RFC 5322 sections 3.3 and 4.3.
const DATE_WORDS: [&str; 29] = [
    "mon", "tue", "wed", "thu", "fri", "sat", "sun", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug",
    "sep", "oct", "nov", "dec", "ut", "gmt", "est", "edt", "cst", "cdt", "mst", "mdt", "pst", "pdt",
];
/// In [`DATE_WORDS`], in this order.
const DAYS: usize = 7;
const MONTHS: usize = 12;
/// Octets and parts of a date.
const DATE: usize = 60;
const PARTS: usize = 8;

/// What is kept of a header field, by its name in lower case. None: nothing that is known to be harmless.
pub(super) fn kept(name: &str, value: &str) -> Option<String> {
    match name {
        "date" => date(value),
        "content-type" => media_type(value),
        "content-language" => languages(value),
        _ => {
            let (_, words) = FIELDS.iter().find(|(field, _)| *field == name)?;
            one_of(words, first(value))
        }
    }
}

/// Of a MAIL parameter: SIZE (RFC 1870) and BODY (RFC 6152, RFC 3030).
pub(super) fn parameter(keyword: &str, value: &str) -> Option<String> {
    if keyword.eq_ignore_ascii_case("size") {
        let digits = value.bytes().all(|octet| octet.is_ascii_digit()) && value.len() <= 20;
        return digits.then(|| value.to_owned());
    }
    keyword.eq_ignore_ascii_case("body").then(|| one_of(&["7bit", "8bitmime", "binarymime"], value))?
}

/// `type/subtype`, without parameters and comments.
pub(super) fn media_type(value: &str) -> Option<String> {
    let value = first(value);
    let (kind, subtype) = value.split_once('/')?;
    let of_a_name = |octet: u8| octet.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&octet);
    let fits = one_of(&MEDIA_TYPES, kind).is_some()
        && (1..=SUBTYPE).contains(&subtype.len())
        && subtype.bytes().all(of_a_name);
    fits.then(|| value.to_owned())
}

pub(super) fn charset(value: &str) -> Option<String> {
    let of_a_name = |octet: u8| octet.is_ascii_alphanumeric() || b"-_:.+".contains(&octet);
    let fits = (1..=CHARSET).contains(&value.len()) && value.bytes().all(of_a_name) && !is_domain(value);
    fits.then(|| value.to_owned())
}

/// Numbers and the names of days, months and zones, without comments.
fn date(value: &str) -> Option<String> {
    let value = value.split('(').next().unwrap_or_default().trim();
    let parts = || value.split([' ', '\t', '\r', '\n', ',', ':']).filter(|part| !part.is_empty());
    let fits = |part: &str| {
        let number = part.strip_prefix(['+', '-']).unwrap_or(part);
        number.len() <= 4 && number.bytes().all(|octet| octet.is_ascii_digit())
            || one_of(&DATE_WORDS, part).is_some()
    };
    // Without a month it could be a telephone number.
    let month = parts().any(|part| one_of(&DATE_WORDS[DAYS..DAYS + MONTHS], part).is_some());
    let fits = value.len() <= DATE && parts().count() <= PARTS && month && parts().all(fits);
    fits.then(|| value.to_owned())
}

/// Language tags (RFC 3282, RFC 5646): a language of two or three letters, a script, a region.
fn languages(value: &str) -> Option<String> {
    let letters = |part: &str| part.bytes().all(|octet| octet.is_ascii_alphabetic());
    let digits = |part: &str| part.bytes().all(|octet| octet.is_ascii_digit());
    let tag = |tag: &str| {
        let mut parts = tag.trim().split('-');
        let language = parts.next().is_some_and(|part| (2..=3).contains(&part.len()) && letters(part));
        let region =
            |part: &str| matches!(part.len(), 2 | 4) && letters(part) || part.len() == 3 && digits(part);
        language && tag.len() <= 12 && parts.all(region)
    };
    value.split(',').all(tag).then(|| value.to_owned())
}

/// Up to what begins a parameter or a comment.
fn first(value: &str) -> &str {
    value.split([';', '(']).next().unwrap_or_default().trim()
}

fn one_of(words: &[&str], value: &str) -> Option<String> {
    words.iter().any(|word| word.eq_ignore_ascii_case(value)).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_standard_lists_is_kept() {
        for (name, value, left) in [
            ("date", "Sun, 22 Nov 2026 10:00:00 +0100 (Olga's clock)", "Sun, 22 Nov 2026 10:00:00 +0100"),
            ("date", "22 Nov 26 10:00 GMT", "22 Nov 26 10:00 GMT"),
            ("content-type", "text/plain (for Olga); name=\"olga.pdf\"", "text/plain"),
            (
                "content-type",
                "application/vnd.oasis.opendocument.text",
                "application/vnd.oasis.opendocument.text",
            ),
            ("content-disposition", "attachment; filename=olga.pdf", "attachment"),
            ("content-language", "de-AT, zh-Hant, es-419", "de-AT, zh-Hant, es-419"),
            ("auto-submitted", "auto-replied; owner-token=olga", "auto-replied"),
            ("x-priority", "1 (Highest)", "1"),
            ("precedence", "Bulk", "Bulk"),
        ] {
            assert_eq!(kept(name, value).as_deref(), Some(left), "{name}: {value}");
        }
        assert_eq!(parameter("SIZE", "1234").as_deref(), Some("1234"));
        assert_eq!(parameter("body", "8BITMIME").as_deref(), Some("8BITMIME"));
        assert_eq!(charset("iso-8859-1").as_deref(), Some("iso-8859-1"));
    }

    #[test]
    fn free_text_is_not() {
        for (name, value) in [
            ("importance", "Olga +49 171 1234567"),
            ("importance", "olga"),
            ("date", "tomorrow with Olga"),
            ("date", "+49 171 1234567"),
            ("date", "49 171 123 45 67"),
            ("date", "Jan 49 171 123 45 67 89 10 11"),
            ("date", ""),
            ("content-type", "olga/plain"),
            ("content-type", "text/olga secret"),
            ("content-type", ""),
            ("content-language", "olga"),
            ("content-language", "de, call Olga"),
            ("content-disposition", "olga; filename=x"),
            ("subject", "1.0"),
        ] {
            assert_eq!(kept(name, value), None, "{name}: {value}");
        }
        for (keyword, value) in [("SIZE", "olga"), ("BODY", "olga"), ("AUTH", "1234"), ("ENVID", "7BIT")] {
            assert_eq!(parameter(keyword, value), None, "{keyword}={value}");
        }
        assert_eq!((charset("olga secret"), charset("olga.test"), media_type("olga")), (None, None, None));
    }
}
