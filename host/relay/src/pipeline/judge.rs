//! The calls of the stages at intake, and the checks of what they return (law 7).

use std::io;

use relevo_mailkit::model::{
    Edit, Encoding, Refusal, Report, Rewrite, Segment, TrackOptions, ValidateOptions,
};
use relevo_mailkit::recheck;
use relevo_mailkit::reply::EnhancedCode;
use relevo_mailkit::source::Source;
use relevo_mailkit::{splice, token};
use relevo_runtime::{Stage, Stages};

use super::submission::Rejection;
use crate::copies::bad_answer;
use crate::settings::Tracking;

/// More Received fields are a loop (RFC 5321 section 6.3).
pub(super) const MAX_RECEIVED: u32 = 100;

/// Octets of an HTML part; a larger one is not rewritten, with a note.
const MAX_HTML: u64 = 4 << 20;

/// Links of a message.
const MAX_LINKS: u32 = 10_000;

/// Octets of a destination: with the token it must fit into one header-safe line.
const MAX_LINK_LENGTH: u32 = 2_000;

/// `validate`: the report, or the reply that says why not.
pub(super) fn validate(
    stages: &dyn Stages,
    options: ValidateOptions,
    message: &dyn Source,
) -> Result<Report, Rejection> {
    let report = match stages.validate(options, message)? {
        Ok(report) => report,
        Err(refusal) => {
            recheck::refusal(&refusal).map_err(|rule| bad_answer(Stage::Validate, rule))?;
            return Err(refused(&refusal));
        }
    };
    recheck::report(&report, message.size()).map_err(|rule| bad_answer(Stage::Validate, rule))?;
    check_seams(Stage::Validate, &report.edits, message)?;
    Ok(report)
}

/// `track`: edits of both stages, merged, and the links. None when there is nothing to rewrite.
pub(super) fn track(
    stages: &dyn Stages,
    tracking: &Tracking,
    report: &Report,
    message: &dyn Source,
) -> Result<Rewrite, Rejection> {
    let options = TrackOptions {
        clicks: tracking.clicks,
        opens: tracking.opens,
        text_links: tracking.text_links,
        url_overhead: token::url_overhead(&tracking.url),
        max_html: MAX_HTML,
        max_links: MAX_LINKS,
        max_link_length: MAX_LINK_LENGTH,
        reencode: reencoded(&report.edits),
    };
    let mut rewrite = stages.track(options, &report.parts, message)?;
    recheck::rewrite(&rewrite, message.size(), MAX_LINK_LENGTH as usize)
        .map_err(|rule| bad_answer(Stage::Track, rule))?;
    rewrite.edits = splice::merge(&report.edits, &rewrite.edits);
    recheck::edits(&rewrite.edits, message.size(), rewrite.links.len())
        .map_err(|rule| bad_answer(Stage::Track, rule))?;
    check_seams(Stage::Track, &rewrite.edits, message)?;
    Ok(rewrite)
}

/// Whether a copy differs from recipient to recipient.
pub(super) fn has_places(edits: &[Edit]) -> bool {
    edits.iter().flat_map(|e| &e.segments).any(|p| matches!(p, Segment::Click(_) | Segment::Open))
}

fn reencoded(edits: &[Edit]) -> Vec<u32> {
    let mut parts: Vec<u32> = edits.iter().filter_map(|e| e.part).collect();
    parts.sort_unstable();
    parts.dedup();
    parts
}

/// The reply for a refusal that has been checked.
fn refused(refusal: &Refusal) -> Rejection {
    let Refusal { code, enhanced, rule, detail } = refusal;
    let enhanced = enhanced.parse().unwrap_or(EnhancedCode::new(5, 6, 0));
    Rejection::new(*code, enhanced, &rule.replace(' ', "-"), &format!("{rule}: {detail}"))
}

/// No edit may part a CRLF: what it inserts is whole lines or parts of lines.
fn check_seams(stage: Stage, edits: &[Edit], message: &dyn Source) -> Result<(), Rejection> {
    match parted(edits, message) {
        Ok(false) => Ok(()),
        Ok(true) => Err(bad_answer(stage, "an edit parts a CRLF").into()),
        Err(e) => Err(super::store_failed(&e.to_string())),
    }
}

fn parted(edits: &[Edit], message: &dyn Source) -> io::Result<bool> {
    let inside = |offset: u64| -> io::Result<bool> {
        let mut pair = [0; 2];
        let Some(from) = offset.checked_sub(1) else { return Ok(false) };
        Ok(message.read_at(from, &mut pair)? == 2 && pair == *b"\r\n")
    };
    for edit in edits {
        if inside(edit.at.offset)? || inside(edit.at.end())? {
            return Ok(true);
        }
        for segment in &edit.segments {
            if let (Segment::Source(span), Encoding::Identity) = (segment, edit.encoding)
                && (inside(span.offset)? || inside(span.end())?)
            {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
