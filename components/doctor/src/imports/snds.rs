//! Microsoft SNDS: the CSV of a day, without a header.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Day, ImportMistake, MAX_ROWS};

/// Columns: address, period start and end, RCPT commands, DATA commands, recipients, filter result,
/// complaint rate, trap period start and end, trap hits, sample HELO, JMR sender, comments.
const COLUMNS: std::ops::RangeInclusive<usize> = 11..=14;

/// The filter's result for most of the mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FilterResult {
    /// Less than 10 % was spam.
    Green,
    /// Between the two.
    Yellow,
    /// More than 90 % was spam.
    Red,
}

/// An address on a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SndsRow {
    /// The address.
    pub address: IpAddr,
    /// The day in which the period begins.
    pub day: Day,
    /// Recipients of its mail.
    pub recipients: u64,
    /// The filter's result.
    pub filter: FilterResult,
    /// As it is reported, such as `< 0.1%`.
    pub complaints: String,
    /// Mail to traps.
    pub trap_hits: u64,
}

/// Reads the rows.
///
/// # Errors
/// Names the first mistake with its line.
pub fn snds(text: &[u8]) -> Result<Vec<SndsRow>, ImportMistake> {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(text);
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| {
            let line = error.position().map_or(0, csv::Position::line);
            ImportMistake::new(format!("line {line}"), "is not CSV in UTF-8")
        })?;
        let line = record.position().map_or(0, csv::Position::line);
        let place = format!("line {line}");
        if rows.len() >= MAX_ROWS {
            return Err(ImportMistake::new(place, format!("there are more than {MAX_ROWS} rows")));
        }
        // Some exports have a header.
        if line == 1 && record.get(0).is_some_and(|first| first.eq_ignore_ascii_case("ip address")) {
            continue;
        }
        rows.push(row(&record).map_err(|message| ImportMistake::new(place, message))?);
    }
    match rows.is_empty() {
        true => Err(ImportMistake::new("line 1", "there is no row")),
        false => Ok(rows),
    }
}

fn row(record: &csv::StringRecord) -> Result<SndsRow, String> {
    if !COLUMNS.contains(&record.len()) {
        return Err(format!("has {} columns, not {} to {}", record.len(), COLUMNS.start(), COLUMNS.end()));
    }
    let column = |index: usize| record.get(index).unwrap_or_default();
    let number = |index: usize, name: &str| match column(index) {
        "" => Ok(0),
        text => text.parse::<u64>().map_err(|_| format!("{name} must be a number")),
    };
    let filter = match column(6).to_ascii_uppercase().as_str() {
        "GREEN" => FilterResult::Green,
        "YELLOW" => FilterResult::Yellow,
        "RED" => FilterResult::Red,
        _ => return Err("the filter result must be GREEN, YELLOW or RED".to_owned()),
    };
    number(3, "RCPT commands")?;
    number(4, "DATA commands")?;
    let complaints = column(7);
    let is_rate = |text: &str| text.strip_suffix('%').is_some_and(|text| text.trim().parse::<f64>().is_ok());
    if !complaints.is_empty() && !is_rate(complaints.trim_start_matches(['<', '>', ' '])) {
        return Err("the complaint rate must be like `< 0.1%`".to_owned());
    }
    Ok(SndsRow {
        address: column(0).parse().map_err(|_| "the first column must be an IP address".to_owned())?,
        day: day(column(1)).ok_or("the activity period must begin like 11/28/2026 1:00 PM")?,
        recipients: number(5, "message recipients")?,
        filter,
        complaints: complaints.to_owned(),
        trap_hits: number(10, "trap hits")?,
    })
}

/// `MONTH/DAY/YEAR TIME`
fn day(text: &str) -> Option<Day> {
    let date = text.split(' ').next()?;
    let mut parts = date.split('/').map(|part| part.parse::<u64>().ok());
    let (month, day, year) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() { None } else { Day::new(year, month, day) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RIGHT: &str = "192.0.2.1,11/28/2026 1:00 PM,11/29/2026 1:00 PM,1200,1190,1188,GREEN,< 0.1%,,,0,mta1.example.com,,\n\
        192.0.2.2,11/28/2026 1:00 PM,11/29/2026 1:00 PM,10,9,9,red,1.3%,11/28/2026,11/29/2026,3,\"a, b\",,\n";

    #[test]
    fn rows_are_read() {
        let rows = snds(RIGHT.as_bytes()).expect("right");
        assert_eq!((rows.len(), rows[0].recipients, rows[0].filter), (2, 1188, FilterResult::Green));
        assert_eq!((rows[1].day.to_string().as_str(), rows[1].trap_hits), ("2026-11-28", 3));
    }

    #[test]
    fn mistakes_have_a_line() {
        for (from, to, line) in [
            ("192.0.2.2", "192.0.2", "line 2"),
            ("red", "BLUE", "line 2"),
            ("1188", "many", "line 1"),
            ("< 0.1%", "few", "line 1"),
            ("11/28/2026 1:00 PM,11/29/2026 1:00 PM,10", "28.11.2026,11/29/2026,10", "line 2"),
            (",1200,1190,1188", "", "line 1"),
        ] {
            let mistake = snds(RIGHT.replacen(from, to, 1).as_bytes()).expect_err(to);
            assert_eq!(mistake.place, line, "{to}: {}", mistake.message);
        }
        assert!(snds(b"").is_err() && snds(&[0xff, 0xfe]).is_err());
    }

    proptest! {
        #[test]
        fn any_octets_are_read_or_refused(octets: Vec<u8>) {
            let _ = snds(&octets);
        }
    }
}
