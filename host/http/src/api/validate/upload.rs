//! Addresses of an upload, as CSV (RFC 4180) or as lines of JSON.

use serde_json::Value;

use super::MAX_LENGTH;
use crate::error::RequestError;

/// The addresses of a body, without white space round them; at most `most`.
pub(super) fn emails(content_type: &str, body: &[u8], most: usize) -> Result<Vec<String>, RequestError> {
    let is_csv = content_type.to_ascii_lowercase().contains("csv");
    let found = if is_csv { of_csv(body, most)? } else { of_lines(body, most)? };
    if found.len() > most {
        return Err(RequestError::TooLarge(format!(
            "more than {most} addresses: send them in several requests"
        )));
    }
    Ok(found)
}

fn of_csv(body: &[u8], most: usize) -> Result<Vec<String>, RequestError> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(body);
    let headers = reader.headers().map_err(|error| at_line(1, error.to_string()))?;
    let column = headers.iter().position(|header| header.eq_ignore_ascii_case("email"));
    let column = column.ok_or_else(|| at_line(1, "the first line must name a column `email`".to_owned()))?;
    let mut found = Vec::new();
    for record in reader.into_records().take(most + 1) {
        let record = record
            .map_err(|error| at_line(error.position().map_or(0, csv::Position::line), error.to_string()))?;
        let line = record.position().map_or(0, csv::Position::line);
        found.push(checked(line, record.get(column).unwrap_or_default())?);
    }
    Ok(found)
}

fn of_lines(body: &[u8], most: usize) -> Result<Vec<String>, RequestError> {
    let mut found = Vec::new();
    let lines = (1_u64..).zip(body.split(|octet| *octet == b'\n'));
    for (number, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()).take(most + 1) {
        let value: Value =
            serde_json::from_slice(line).map_err(|error| at_line(number, error.to_string()))?;
        let email = match &value {
            Value::String(email) => Some(email),
            Value::Object(fields) => match fields.get("email") {
                Some(Value::String(email)) => Some(email),
                _ => None,
            },
            _ => None,
        };
        let email = email.ok_or_else(|| {
            at_line(number, "must be a text, or an object with the text `email`".to_owned())
        })?;
        found.push(checked(number, email)?);
    }
    Ok(found)
}

fn checked(line: u64, email: &str) -> Result<String, RequestError> {
    if email.len() > MAX_LENGTH {
        return Err(at_line(line, format!("must have at most {MAX_LENGTH} octets")));
    }
    Ok(email.trim().to_owned())
}

fn at_line(line: u64, message: String) -> RequestError {
    RequestError::invalid(format!("line {line}"), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content_type: &str, body: &str) -> Result<Vec<String>, String> {
        emails(content_type, body.as_bytes(), 3).map_err(|error| match error {
            RequestError::Invalid { param, message } => format!("{}: {message}", param.unwrap_or_default()),
            error => error.to_string(),
        })
    }

    #[test]
    fn both_forms_are_read() {
        let csv = "name,Email\r\nAna,ana@example.com\r\nBen, ben@example.com \r\n";
        assert_eq!(
            read("text/csv; charset=utf-8", csv),
            Ok(vec!["ana@example.com".into(), "ben@example.com".into()])
        );
        let lines = "\"ana@example.com\"\n\n{\"email\":\"ben@example.com\",\"id\":7}\r\n";
        assert_eq!(
            read("application/x-ndjson", lines),
            Ok(vec!["ana@example.com".into(), "ben@example.com".into()])
        );
        assert_eq!(read("text/csv", "email\n"), Ok(Vec::new()));
    }

    #[test]
    fn a_wrong_line_is_named() {
        assert!(read("text/csv", "name\nana\n").is_err_and(|text| text.starts_with("line 1: ")));
        assert!(read("", "\"a@b.c\"\n7\n").is_err_and(|text| text.starts_with("line 2: ")));
        assert!(read("", "ana@example.com\n").is_err_and(|text| text.starts_with("line 1: ")));
        let long = format!("\"{}\"", "a".repeat(2_000));
        assert!(read("", &long).is_err_and(|text| text.contains("at most")));
        assert!(read("text/csv", "email\na\nb\nc\nd\n").is_err_and(|text| text.contains("more than 3")));
        assert!(read("", "1\n").is_err());
    }
}
