//! Every reason to refuse a message, in one table.

use relevo_mailkit::model::Refusal;

/// A rule: its name, the reply it gives, and where it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Lower case with hyphens.
    pub name: &'static str,
    /// SMTP reply code.
    pub code: u16,
    /// Enhanced status code, RFC 3463.
    pub enhanced: &'static str,
    /// Where the rule comes from.
    pub section: &'static str,
    /// The rule broken, in words.
    pub meaning: &'static str,
}

macro_rules! rules {
    ($($id:ident: $name:literal, $code:literal, $enhanced:literal, $section:literal, $meaning:literal;)*) => {
        $(
            #[doc = $meaning]
            pub const $id: Rule =
                Rule { name: $name, code: $code, enhanced: $enhanced, section: $section, meaning: $meaning };
        )*
        /// All of them.
        pub const RULES: &[Rule] = &[$($id),*];
    };
}

rules! {
    TOO_LARGE: "too-large", 552, "5.3.4", "RFC 1870 section 6", "the message is larger than the limit";
    RECEIVED_LOOP: "received-loop", 554, "5.4.6", "RFC 5321 section 6.3", "too many Received fields: a mail loop";
    // Octets and lines.
    NUL: "nul", 550, "5.6.0", "RFC 5322 section 2.1", "a NUL octet";
    BARE_CR: "bare-cr", 550, "5.6.0", "RFC 5322 section 2.3", "a CR that is not followed by LF";
    BARE_LF: "bare-lf", 550, "5.6.0", "RFC 5322 section 2.3", "an LF that is not preceded by CR";
    LINE_UNTERMINATED: "line-unterminated", 550, "5.6.0", "RFC 5321 section 2.3.8", "the last line does not end in CRLF";
    HEADER_LINE_TOO_LONG: "header-line-too-long", 550, "5.6.0", "RFC 5322 section 2.1.1", "a header line of more than 998 octets";
    LONG_LINE_SEALED: "long-line-sealed", 550, "5.6.0", "RFC 1847 section 2.1", "a line of more than 998 octets in a part that must not be changed";
    LONG_LINE_ENCODED: "long-line-encoded", 550, "5.6.0", "RFC 2045 section 6.7", "too many over-long lines in an encoded part";
    LONG_LINE_OUTSIDE: "long-line-outside-parts", 550, "5.6.0", "RFC 5322 section 2.1.1", "a line of more than 998 octets before the first or after the last part";
    // Header syntax.
    HEADER_TOO_LARGE: "header-too-large", 550, "5.6.0", "limit", "a header of more than 960 KiB or 10000 fields";
    FIELD_SYNTAX: "field-syntax", 550, "5.6.0", "RFC 5322 section 2.2", "a line that is not a header field";
    BLANK_CONTINUATION: "blank-continuation", 550, "5.6.0", "RFC 5322 section 3.2.2", "a folded header line of blanks only";
    HEADER_CONTROL: "header-control", 550, "5.6.0", "RFC 5322 section 2.2", "a control character in the header";
    HEADER_EIGHT_BIT: "header-eight-bit", 550, "5.6.9", "RFC 6532 section 3", "raw UTF-8 in the header: encode it as RFC 2047 says, or declare SMTPUTF8";
    HEADER_NOT_UTF8: "header-not-utf8", 550, "5.6.0", "RFC 6532 section 3", "the header is not valid UTF-8";
    // Who wrote it.
    FROM_MISSING: "from-missing", 550, "5.6.0", "RFC 5322 section 3.6", "no From field";
    TWO_FROM_FIELDS: "two-from-fields", 550, "5.6.0", "RFC 5322 section 3.6", "more than one From field";
    FROM_EMPTY: "from-empty", 550, "5.6.0", "RFC 5322 section 3.6.2", "no mailbox in From";
    FROM_GROUP: "from-group", 550, "5.6.0", "RFC 6854 section 3", "a group where a mailbox is needed";
    SENDER_MISSING: "sender-missing", 550, "5.6.0", "RFC 5322 section 3.6.2", "several mailboxes in From and no Sender";
    SENDER_SYNTAX: "sender-syntax", 550, "5.6.0", "RFC 5322 section 3.6.2", "Sender is not one mailbox";
    RESENT_FROM_MISSING: "resent-from-missing", 550, "5.6.0", "RFC 5322 section 3.6.6", "Resent fields without Resent-From";
    TOO_MANY_AUTHORS: "too-many-authors", 550, "5.6.0", "limit", "more than 100 mailboxes in From and Resent-From";
    ADDRESS_SYNTAX: "address-syntax", 550, "5.6.0", "RFC 5322 section 3.4", "an address is malformed";
    ADDRESS_ROUTE: "address-route", 550, "5.6.0", "RFC 5322 section 4.4", "an address with an obsolete source route";
    AUTHOR_ADDRESS: "author-address", 550, "5.6.0", "RFC 5321 section 4.1.2", "the address of an author could not stand in an envelope";
    ADDRESS_DOMAIN: "address-domain", 550, "5.6.0", "RFC 5890 section 2.3.2", "the domain of an author is not valid";
    // Other fields.
    DUPLICATE_FIELD: "duplicate-field", 550, "5.6.0", "RFC 5322 section 3.6", "a field that may occur once occurs again";
    TOO_MANY_SIGNED_FIELDS: "too-many-signed-fields", 550, "5.6.0", "limit", "more List-Unsubscribe fields than can be signed";
    DATE_SYNTAX: "date-syntax", 550, "5.6.0", "RFC 5322 section 3.3", "the date is malformed";
    MIME_VERSION: "mime-version", 550, "5.6.0", "RFC 2045 section 4", "MIME-Version is not 1.0";
    CONTENT_TYPE_SYNTAX: "content-type-syntax", 550, "5.6.0", "RFC 2045 section 5.1", "Content-Type is malformed";
    ENCODING_SYNTAX: "encoding-syntax", 550, "5.6.0", "RFC 2045 section 6.1", "Content-Transfer-Encoding is malformed";
    OPTION_FIELD: "option-field", 550, "5.6.0", "X-Relevo fields", "an X-Relevo field is wrong";
    // Structure.
    BOUNDARY_MISSING: "boundary-missing", 550, "5.6.0", "RFC 2046 section 5.1.1", "a multipart without boundary";
    BOUNDARY_SYNTAX: "boundary-syntax", 550, "5.6.0", "RFC 2046 section 5.1.1", "a boundary that is empty, too long, given twice or in pieces";
    BOUNDARY_PREFIX: "boundary-prefix", 550, "5.6.0", "RFC 2046 section 5.1.2", "a boundary that begins like that of an enclosing multipart";
    BOUNDARY_AMBIGUOUS: "boundary-ambiguous", 550, "5.6.0", "RFC 2046 section 5.1.2", "a line that begins with a boundary and goes on";
    BOUNDARY_NEVER_OPENED: "boundary-never-opened", 550, "5.6.0", "RFC 2046 section 5.1.1", "a multipart without parts";
    BOUNDARY_UNTERMINATED: "boundary-unterminated", 550, "5.6.0", "RFC 2046 section 5.1.2", "a multipart whose closing delimiter is missing";
    BOUNDARY_AFTER_CLOSE: "boundary-after-close", 550, "5.6.0", "RFC 2046 section 5.1.2", "a delimiter after the closing one";
    PART_HEADER_UNTERMINATED: "part-header-unterminated", 550, "5.6.0", "RFC 2046 section 5.1", "a part whose header has no end";
    MULTIPART_ENCODED: "multipart-encoded", 550, "5.6.0", "RFC 2045 section 6.4", "a multipart or message with a transfer encoding";
    ENCODED_EIGHT_BIT: "encoded-eight-bit", 550, "5.6.0", "RFC 2045 section 6.7", "octets above 127 in a part declared quoted-printable or base64";
    TOO_DEEP: "too-deep", 550, "5.6.0", "limit", "the parts are nested too deep";
    TOO_MANY_PARTS: "too-many-parts", 550, "5.6.0", "limit", "too many parts";
    // Downgrade.
    CANNOT_DOWNGRADE: "cannot-downgrade", 550, "5.6.3", "RFC 6152 section 3", "the message is 8bit and must not be changed";
    CANNOT_DOWNGRADE_HEADER: "cannot-downgrade-header", 550, "5.6.9", "RFC 6531 section 3.5", "the header needs SMTPUTF8";
}

/// The longest detail.
const MAX_DETAIL: usize = 200;

impl Rule {
    /// The refusal for this rule. `place` says where; it may hold anything.
    pub(crate) fn at(&self, place: impl AsRef<[u8]>) -> Refusal {
        let mut detail = String::from(self.meaning);
        let place = place.as_ref();
        if !place.is_empty() {
            detail.push_str(" (");
            push_printable(&mut detail, place, MAX_DETAIL - 1);
            detail.push(')');
        }
        self.refusal(detail)
    }

    /// The refusal for this rule in other words; they may hold anything.
    pub(crate) fn says(&self, words: impl AsRef<[u8]>) -> Refusal {
        let mut detail = String::new();
        push_printable(&mut detail, words.as_ref(), MAX_DETAIL);
        self.refusal(detail)
    }

    fn refusal(&self, detail: String) -> Refusal {
        Refusal { code: self.code, enhanced: self.enhanced.into(), rule: self.name.into(), detail }
    }
}

/// Appends octets, printable ASCII as it is, up to a length.
fn push_printable(detail: &mut String, octets: &[u8], most: usize) {
    for &byte in octets {
        if detail.len() >= most {
            break;
        }
        detail.push(if (b' '..=b'~').contains(&byte) { char::from(byte) } else { '?' });
    }
}

/// What a check gives.
pub(crate) type Checked<T> = Result<T, Refusal>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_well_formed() {
        let mut names: Vec<_> = RULES.iter().map(|r| r.name).collect();
        assert!(
            names
                .iter()
                .all(|n| n.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'))
        );
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn details_are_printable_and_short() {
        let refusal = NUL.at([b'x'; 500].iter().chain(b"\r\n\x1b\xff").copied().collect::<Vec<_>>());
        assert!(refusal.detail.len() <= MAX_DETAIL, "{}", refusal.detail.len());
        assert_eq!(NUL.says([b'x'; 500]).detail.len(), MAX_DETAIL);
        assert_eq!(NUL.says("caf\u{e9}\r\n").detail, "caf????");
        assert!(BARE_CR.at("a\r\n\x1b[0m").detail.bytes().all(|b| (b' '..=b'~').contains(&b)));
    }
}
