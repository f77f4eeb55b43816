//! Law 7: what a stage answered is checked before anybody uses it.
//!
//! The field syntax, the edits and the line ends are the business of [`relevo_mailkit::recheck`]; here is what ties an answer to
//! its call.

use relevo_mailkit::model::{Part, Refusal, Report, Rewrite, Span};
use relevo_mailkit::recheck::{self, LineEnds};
use relevo_mailkit::reply::EnhancedCode;

/// The longest `detail` of a refusal that becomes a reply line.
const DETAIL: usize = 200;

/// A report about a message of `size` octets.
pub(crate) fn report(report: &Report, size: u64) -> Result<(), String> {
    recheck::header_fields(&report.additions).map_err(|rule| format!("additions: {rule}"))?;
    recheck::edits(&report.edits, size, 0).map_err(|rule| format!("edits: {rule}"))?;
    parts(&report.parts, size)?;
    let text = report.authors.iter().flat_map(|author| [&author.address, &author.domain]);
    if text.chain([&report.message_id]).any(|text| text.chars().any(char::is_control)) {
        return Err("a control character in an address or the Message-ID".into());
    }
    if report.from_field.contains(&b'\r') || report.from_field.contains(&b'\n') {
        return Err("the From field is not unfolded".into());
    }
    Ok(())
}

fn parts(parts: &[Part], size: u64) -> Result<(), String> {
    for (index, part) in parts.iter().enumerate() {
        let spans = [Some(part.header), Some(part.body), part.encoding_field];
        if spans.into_iter().flatten().any(|span| !within(span, size)) {
            return Err(format!("part {index} reaches past the end of the message"));
        }
        // The root comes first and has no parent; every other one names an earlier part.
        let parent = part.parent.map(|parent| usize::try_from(parent).unwrap_or(usize::MAX));
        if parent.is_none() != (index == 0) || parent.is_some_and(|parent| parent >= index) {
            return Err(format!("part {index} is out of order"));
        }
    }
    if parts.is_empty() { Err("no parts".into()) } else { Ok(()) }
}

fn within(span: Span, size: u64) -> bool {
    span.offset.checked_add(span.length).is_some_and(|end| end <= size)
}

/// A refusal becomes a reply to the sender.
pub(crate) fn refusal(refusal: &Refusal) -> Result<(), String> {
    let printable = |text: &str| text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if !matches!(refusal.code, 550 | 552 | 554) {
        return Err(format!("a refusal with code {}", refusal.code));
    }
    if !refusal.enhanced.parse::<EnhancedCode>().is_ok_and(EnhancedCode::is_permanent) {
        return Err("a refusal whose enhanced code is not 5.x.y".into());
    }
    if !printable(&refusal.rule) || !printable(&refusal.detail) {
        return Err("a refusal that is not printable ASCII".into());
    }
    if refusal.rule.len() + refusal.detail.len() > 2 * DETAIL {
        return Err("a refusal that does not fit a reply line".into());
    }
    Ok(())
}

/// The parts that `track` asks for must be there and ascending.
pub(crate) fn wanted(wanted: &[u32], parts: &[Part]) -> Result<(), String> {
    let ascending = wanted.windows(2).all(|pair| pair[0] < pair[1]);
    let known = wanted.last().is_none_or(|last| usize::try_from(*last).is_ok_and(|last| last < parts.len()));
    if ascending && known { Ok(()) } else { Err("wants parts that are not there".into()) }
}

/// A rewrite of a message of `size` octets, in none but the `wanted` parts.
pub(crate) fn rewrite(rewrite: &Rewrite, size: u64, wanted: &[u32]) -> Result<(), String> {
    recheck::edits(&rewrite.edits, size, rewrite.links.len()).map_err(|rule| format!("edits: {rule}"))?;
    if rewrite.edits.iter().any(|edit| edit.part.is_none_or(|part| !wanted.contains(&part))) {
        return Err("an edit in a part that was not given".into());
    }
    if rewrite.links.iter().any(|link| link.chars().any(char::is_control)) {
        return Err("a control character in a link".into());
    }
    Ok(())
}

/// A message made by `template`: CRLF only, no NUL.
pub(crate) fn message(message: &[u8]) -> Result<(), String> {
    let mut ends = LineEnds::default();
    ends.push(message).and_then(|()| ends.finish()).map_err(|error| format!("a built message: {error:?}"))
}
