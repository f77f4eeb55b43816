//! Google Postmaster Tools, version 2: answers of `domains.domainStats.query`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Day, ImportMistake, MAX_ROWS};

/// The spam rate of a domain on a day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PostmasterRow {
    /// In lower case.
    pub domain: String,
    /// The day.
    pub day: Day,
    /// 0 to 1.
    pub spam_rate: f64,
}

/// Reads the spam rates of an answer, or of an array of answers. Other metrics are left out. The metric
/// must be called `spam_rate`, in any case, with or without the underscore.
///
/// # Errors
/// Names the first mistake with its path.
pub fn postmaster(json: &[u8]) -> Result<Vec<PostmasterRow>, ImportMistake> {
    let document: Value = serde_json::from_slice(json).map_err(|error| {
        ImportMistake::new(format!("line {}", error.line()), format!("is not JSON: {error}"))
    })?;
    let mut rows = Vec::new();
    match &document {
        Value::Array(answers) => {
            for (index, answer) in answers.iter().enumerate() {
                read(answer, &format!("[{index}]."), &mut rows)?;
            }
        }
        answer => read(answer, "", &mut rows)?,
    }
    if rows.is_empty() {
        return Err(ImportMistake::new("domainStats", "has no metric called spam_rate"));
    }
    Ok(rows)
}

fn read(answer: &Value, prefix: &str, rows: &mut Vec<PostmasterRow>) -> Result<(), ImportMistake> {
    let place = format!("{prefix}domainStats");
    let Some(answer) = answer.as_object() else {
        return Err(ImportMistake::new(place, "the document must be an object with domainStats"));
    };
    if let Some(other) = answer.keys().find(|key| !matches!(key.as_str(), "domainStats" | "nextPageToken")) {
        return Err(ImportMistake::new(
            format!("{prefix}{}", crate::check::shown(other)),
            "is not a known field",
        ));
    }
    let Some(stats) = answer.get("domainStats").and_then(Value::as_array) else {
        return Err(ImportMistake::new(place, "must be an array"));
    };
    for (index, stat) in stats.iter().enumerate() {
        if rows.len() >= MAX_ROWS {
            return Err(ImportMistake::new(place, format!("has more than {MAX_ROWS} rows")));
        }
        rows.extend(row(stat, &format!("{place}[{index}]"))?);
    }
    Ok(())
}

fn row(stat: &Value, place: &str) -> Result<Option<PostmasterRow>, ImportMistake> {
    let wrong = |field: &str, message: &str| ImportMistake::new(format!("{place}.{field}"), message);
    let metric = stat["metric"].as_str().ok_or_else(|| wrong("metric", "must be a string"))?;
    let plain: String = metric.to_ascii_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    if plain != "spamrate" {
        return Ok(None);
    }
    let name = stat["name"].as_str().ok_or_else(|| wrong("name", "must be a string"))?;
    let domain = name.strip_prefix("domains/").and_then(|rest| rest.split('/').next());
    let domain = domain.filter(|domain| domain.contains('.') && domain.len() <= 253);
    let domain = domain.ok_or_else(|| wrong("name", "must be domains/DOMAIN/domainStats/ID"))?;
    let date = &stat["date"];
    let part = |name: &str| date[name].as_u64();
    let day = match (part("year"), part("month"), part("day")) {
        (Some(year), Some(month), Some(day)) => Day::new(year, month, day),
        _ => None,
    };
    let day = day.ok_or_else(|| wrong("date", "must have year, month and day"))?;
    let value = &stat["value"];
    let rate = value["doubleValue"].as_f64().or_else(|| value["floatValue"].as_f64());
    // A rate of zero is left out of JSON that is made from protocol buffers.
    let is_zero = value.as_object().is_some_and(serde_json::Map::is_empty) || value.is_null();
    let rate = rate.or(is_zero.then_some(0.0)).filter(|rate| (0.0..=1.0).contains(rate));
    let spam_rate = rate.ok_or_else(|| wrong("value.doubleValue", "must be a rate from 0 to 1"))?;
    Ok(Some(PostmasterRow { domain: domain.to_ascii_lowercase(), day, spam_rate }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RIGHT: &str = r#"{"domainStats": [
        {"name": "domains/Example.com/domainStats/abc", "metric": "spam_rate", "value": {"doubleValue": 0.0025},
         "date": {"year": 2026, "month": 11, "day": 28}},
        {"name": "domains/example.com/domainStats/d", "metric": "tls", "value": {"doubleValue": 1}},
        {"name": "domains/example.com/domainStats/e", "metric": "spamRate", "value": {},
         "date": {"year": 2026, "month": 11, "day": 29}}], "nextPageToken": ""}"#;

    #[test]
    fn spam_rates_are_read() {
        let rows = postmaster(RIGHT.as_bytes()).expect("right");
        let days: Vec<_> =
            rows.iter().map(|row| (row.domain.as_str(), row.day.to_string(), row.spam_rate)).collect();
        let want =
            [("example.com", "2026-11-28".to_owned(), 0.0025), ("example.com", "2026-11-29".to_owned(), 0.0)];
        assert_eq!(days, want);
    }

    #[test]
    fn mistakes_have_a_path() {
        for (from, to, place) in [
            ("0.0025", "1.5", "domainStats[0].value.doubleValue"),
            ("\"month\": 11, \"day\": 28", "\"month\": 13, \"day\": 28", "domainStats[0].date"),
            ("domains/Example.com/", "Example.com/", "domainStats[0].name"),
            ("\"tls\"", "7", "domainStats[1].metric"),
            ("nextPageToken", "more", "more"),
            ("\"domainStats\":", "\"nextPageToken\":", "domainStats"),
            ("}}]", "", "line 6"),
        ] {
            let mistake = postmaster(RIGHT.replacen(from, to, 1).as_bytes()).expect_err(to);
            assert_eq!(mistake.place, place, "{to}: {}", mistake.message);
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_read_or_refused(octets: Vec<u8>) {
            let _ = postmaster(&octets);
        }
    }
}
