//! The body of `POST /emails/batch`: an array of requests, each read as if it had come alone.

use std::ops::Range;

use serde::de::IgnoredAny;

use crate::check::{self, CheckedRequest, Limits};
use crate::json::{self, Budget};
use crate::problem::{InvalidRequest, Problem};
use crate::request::EmailRequest;

/// Requests of a batch.
pub const MAX_BATCH: usize = 1_000;

/// The requests of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedBatch {
    /// Those that can be used, with their positions in the batch.
    pub requests: Vec<(CheckedRequest, usize)>,
    /// The mistakes of the others, with their positions; paths begin with it, such as `[3].to[0]`.
    pub problems: Vec<(usize, Problem)>,
}

/// Reads and checks a batch. One request after the other is read, so that only those that can be
/// used are kept in memory. All of them share the bound of [`json::read`]. `now` is in milliseconds
/// since 1970.
///
/// # Errors
/// The body is not JSON, is no array, or has no request or more than 1,000.
pub fn read(body: &[u8], limits: &Limits, now: u64) -> Result<CheckedBatch, InvalidRequest> {
    let budget = Budget::default();
    let mut batch = CheckedBatch { requests: Vec::new(), problems: Vec::new() };
    for (index, place) in entries(body)?.into_iter().enumerate() {
        let start = place.start;
        let request = json::read_within::<EmailRequest>(&body[place], &budget);
        match request.and_then(|request| check::check(request, limits, now)) {
            Ok(checked) => batch.requests.push((checked, index)),
            Err(InvalidRequest::Fields(found)) => {
                let prefix = format!("[{index}]");
                batch.problems.extend(found.into_iter().map(|problem| (index, problem.within(&prefix))));
            }
            Err(InvalidRequest::Json { line, column, message }) => {
                return Err(in_body(&body[..start], line, column, message));
            }
        }
    }
    Ok(batch)
}

/// The places of the elements of an array. No value is made.
fn entries(body: &[u8]) -> Result<Vec<Range<usize>>, InvalidRequest> {
    let mut at = after_whitespace(body, 0);
    if body.get(at) != Some(&b'[') {
        return Err(not_an_array(body));
    }
    let mut entries = Vec::new();
    loop {
        at = after_whitespace(body, at + 1);
        let is_empty = entries.is_empty() && body.get(at) == Some(&b']');
        if !is_empty {
            let length = value_length(&body[at.min(body.len())..]).ok_or_else(|| not_an_array(body))?;
            if entries.len() == MAX_BATCH {
                return Err(wrong_count("more than 1000"));
            }
            entries.push(at..at + length);
            at = after_whitespace(body, at + length);
        }
        match body.get(at) {
            Some(b',') => {}
            Some(b']') if after_whitespace(body, at + 1) == body.len() => break,
            _ => return Err(not_an_array(body)),
        }
    }
    if entries.is_empty() { Err(wrong_count("0")) } else { Ok(entries) }
}

fn after_whitespace(body: &[u8], at: usize) -> usize {
    let is_blank = |octet: &u8| matches!(octet, b' ' | b'\t' | b'\r' | b'\n');
    at + body.get(at..).unwrap_or_default().iter().take_while(|octet| is_blank(octet)).count()
}

/// The octets of the value that the text begins with; none when it begins with no value.
fn value_length(text: &[u8]) -> Option<usize> {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    Some(values.byte_offset())
}

fn wrong_count(count: &str) -> InvalidRequest {
    InvalidRequest::field("", format!("{count} emails, 1 to {MAX_BATCH} are allowed"))
}

/// The mistake of a body that is no array, or whose array cannot be read to its end.
fn not_an_array(body: &[u8]) -> InvalidRequest {
    let read = json::read::<Vec<IgnoredAny>>(body);
    read.err().unwrap_or_else(|| InvalidRequest::field("", "an array of emails is wanted"))
}

/// A mistake at a line and column of an element that stands after `before`.
fn in_body(before: &[u8], line: usize, column: usize, message: String) -> InvalidRequest {
    let lines = before.iter().filter(|octet| **octet == b'\n').count();
    let in_line = before.iter().rev().take_while(|octet| **octet != b'\n').count();
    let column = if line == 1 { column + in_line } else { column };
    InvalidRequest::Json { line: line + lines, column, message }
}
