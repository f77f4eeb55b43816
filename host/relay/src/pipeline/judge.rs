//! The calls of the stages at intake, and the checks of what they return (law 7).

use std::io;

use relevo_mailkit::model::{
    Edit, Encoding, Refusal, Report, Rewrite, Segment, TrackOptions, ValidateOptions,
};
use relevo_mailkit::recheck;
use relevo_mailkit::reply::EnhancedCode;
use relevo_mailkit::source::Source;
use relevo_runtime::{Stage, Stages};
use relevo_submission::tracking;

use super::submission::Rejection;
use crate::copies::bad_answer;

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

/// `track`: the edits of both stages, merged, and the links.
pub(super) fn track(
    stages: &dyn Stages,
    options: TrackOptions,
    report: &Report,
    message: &dyn Source,
) -> Result<Rewrite, Rejection> {
    let rewrite = stages.track(options, &report.parts, message)?;
    let rewrite =
        tracking::merge(report, rewrite, message.size()).map_err(|rule| bad_answer(Stage::Track, rule))?;
    check_seams(Stage::Track, &rewrite.edits, message)?;
    Ok(rewrite)
}

/// The reply for a refusal that has been checked.
pub(super) fn refused(refusal: &Refusal) -> Rejection {
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
