//! Answers of the first-party stages: what the host checks before it uses one.

use super::{MAX_LINE, edits, header_fields};
use crate::model::{MAX_FIELD_OCTETS, MAX_FIELDS, MessageOptions, Refusal, Report, Rewrite, Segment};
use crate::reply::EnhancedCode;

/// Entries of each list of options.
const MAX_OPTIONS: usize = 100;
/// Octets of all options together.
const MAX_OPTION_OCTETS: usize = 256 << 10;
/// Octets of `rule` and `detail` of a refusal together: they become one reply line.
const MAX_REFUSAL: usize = 400;

/// A report of `validate` about a message of `size` octets.
///
/// # Errors
/// The rule that is broken.
pub fn report(report: &Report, size: u64) -> Result<(), &'static str> {
    header_fields(&report.added_headers)?;
    edits(&report.edits, size, 0)?;
    if report.edits.iter().flat_map(|e| &e.segments).any(Segment::is_url) {
        return Err("validate returned segments for links");
    }
    if report.from_field.iter().any(|c| matches!(c, b'\r' | b'\n' | 0)) {
        return Err("the From field is not unfolded");
    }
    let octets = report.headers.iter().map(|f| f.name.len() + f.value.len()).sum::<usize>();
    if report.headers.len() > MAX_FIELDS || octets > MAX_FIELD_OCTETS {
        return Err("more fields are listed than may be");
    }
    let addresses = report.authors.iter().flat_map(|author| [&author.address, &author.domain]);
    if addresses.chain([&report.message_id]).any(|text| text.chars().any(char::is_control)) {
        return Err("a control character in an address or the Message-ID");
    }
    if report.message_id.len() > MAX_LINE {
        return Err("the Message-ID is too long");
    }
    if !report.content_fields.iter().is_sorted_by(|a, b| a.end() <= b.offset)
        || report.content_fields.iter().any(|span| span.end() > size)
    {
        return Err("content fields are out of order, overlap or reach past the message");
    }
    match &report.options {
        Ok(options) => self::options(options),
        Err(mistake) => refusal(mistake),
    }
}

/// Options of the `X-Relevo-*` fields: bounded, and names without control characters.
fn options(options: &MessageOptions) -> Result<(), &'static str> {
    let lists = [options.tags.len(), options.metadata.len(), options.exclude_domains.len()];
    if lists.iter().any(|entries| *entries > MAX_OPTIONS) {
        return Err("more options than may be");
    }
    let tags = options.tags.iter().flat_map(|(name, value)| [name, value]);
    let single = [&options.template, &options.topic, &options.idempotency_key];
    let names = tags.chain(single.into_iter().flatten()).chain(&options.exclude_domains);
    if names.clone().any(|name| name.chars().any(char::is_control)) {
        return Err("a control character in an option");
    }
    let texts = options.metadata.iter().flat_map(|(key, value)| [key, value]).chain(&options.variables);
    if names.chain(texts).map(String::len).sum::<usize>() > MAX_OPTION_OCTETS {
        return Err("options are too long");
    }
    Ok(())
}

/// A refusal of `validate`, which becomes a reply to the sender.
///
/// # Errors
/// The rule that is broken.
pub fn refusal(refusal: &Refusal) -> Result<(), &'static str> {
    let printable = |text: &str| text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if !matches!(refusal.code, 550 | 552 | 554) {
        return Err("a refusal whose code is not 550, 552 or 554");
    }
    if !refusal.enhanced.parse::<EnhancedCode>().is_ok_and(EnhancedCode::is_permanent) {
        return Err("a refusal whose enhanced code is not 5.x.y");
    }
    if !printable(&refusal.rule) || !printable(&refusal.detail) {
        return Err("a refusal that is not printable ASCII");
    }
    if refusal.rule.len() + refusal.detail.len() > MAX_REFUSAL {
        return Err("a refusal that does not fit a reply line");
    }
    Ok(())
}

/// An answer of `track` about a message of `size` octets, whose links have at most `max_link`
/// octets each.
///
/// # Errors
/// The rule that is broken.
pub fn rewrite(rewrite: &Rewrite, size: u64, max_link: usize) -> Result<(), &'static str> {
    edits(&rewrite.edits, size, rewrite.links.len())?;
    if rewrite.links.iter().any(|link| link.len() > max_link || link.chars().any(char::is_control)) {
        return Err("a link is too long or has control characters");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_that_would_smuggle_is_no_refusal() {
        let good =
            Refusal { code: 550, enhanced: "5.6.0".into(), rule: "rule".into(), detail: "text".into() };
        assert_eq!(refusal(&good), Ok(()));
        let bad = [
            Refusal { code: 250, ..good.clone() },
            Refusal { code: 451, ..good.clone() },
            Refusal { enhanced: "4.6.0".into(), ..good.clone() },
            Refusal { enhanced: "5.6".into(), ..good.clone() },
            Refusal { enhanced: "5.6.0\r\n250 ok".into(), ..good.clone() },
            Refusal { detail: "no\r\n250 ok".into(), ..good.clone() },
            Refusal { rule: "r\u{f6}le".into(), ..good.clone() },
            Refusal { detail: "x".repeat(MAX_REFUSAL), ..good },
        ];
        for bad in bad {
            assert!(refusal(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn links_are_bounded_and_printable() {
        let with = |link: &str| Rewrite { edits: vec![], links: vec![link.into()], notes: vec![] };
        assert_eq!(rewrite(&with("https://x.example/"), 0, 30), Ok(()));
        assert!(rewrite(&with("https://x.example/"), 0, 10).is_err());
        assert!(rewrite(&with("https://x\r\n"), 0, 30).is_err());
    }
}
