//! The lines of suppressions as CSV (RFC 4180), to and from a spreadsheet.

use std::borrow::Cow;

use relevo_relay::suppressions::{ALL_STREAMS, NewSuppression, canonical};

use super::{check_reason, check_stream};
use crate::error::RequestError;

/// Where a CSV has its columns.
#[derive(Clone, Copy)]
struct Columns {
    email: usize,
    stream: Option<usize>,
    reason: Option<usize>,
    detail: Option<usize>,
}

/// The entries of a CSV, each read when it is asked for.
pub(super) fn lines(
    body: &[u8],
) -> Result<impl Iterator<Item = Result<NewSuppression, RequestError>>, RequestError> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(body);
    let headers = reader.headers().map_err(|error| at_line(1, error.to_string()))?;
    let column = |name: &str| headers.iter().position(|header| header.eq_ignore_ascii_case(name));
    let columns = Columns {
        email: column("email")
            .ok_or_else(|| at_line(1, "the first line must name a column `email`".to_owned()))?,
        stream: column("stream"),
        reason: column("reason"),
        detail: column("detail"),
    };
    Ok(reader.into_records().map(move |record| {
        let record = record
            .map_err(|error| at_line(error.position().map_or(0, csv::Position::line), error.to_string()))?;
        let line = record.position().map_or(0, csv::Position::line);
        entry(&record, columns).map_err(|error| match error {
            RequestError::Invalid { param: Some(param), message } => {
                at_line(line, format!("`{param}`: {message}"))
            }
            error => at_line(line, error.to_string()),
        })
    }))
}

fn entry(record: &csv::StringRecord, columns: Columns) -> Result<NewSuppression, RequestError> {
    let field = |column: Option<usize>| column.and_then(|c| record.get(c)).filter(|text| !text.is_empty());
    let stream = field(columns.stream).unwrap_or(ALL_STREAMS);
    check_stream(stream)?;
    let reason = field(columns.reason).unwrap_or("manual");
    check_reason(reason)?;
    let detail = field(columns.detail).unwrap_or_default();
    Ok(NewSuppression {
        address: canonical(field(Some(columns.email)).unwrap_or_default())?,
        stream: stream.to_owned(),
        reason: reason.to_owned(),
        // What the export has put in front.
        detail: detail.strip_prefix('\'').filter(|rest| is_formula(rest)).unwrap_or(detail).to_owned(),
        message_id: None,
    })
}

fn at_line(line: u64, message: String) -> RequestError {
    RequestError::invalid(format!("line {line}"), message)
}

/// A field of CSV (RFC 4180).
pub(super) fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

/// A detail that a spreadsheet would take for a formula is made text, and [`entry`] takes that
/// back. Addresses stay as they are: they must be the same for whoever reads them.
pub(super) fn no_formula(detail: &str) -> Cow<'_, str> {
    if is_formula(detail) { Cow::Owned(format!("'{detail}")) } else { Cow::Borrowed(detail) }
}

fn is_formula(text: &str) -> bool {
    text.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r'])
}
