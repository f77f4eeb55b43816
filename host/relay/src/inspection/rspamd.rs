//! Scores of an Rspamd (`POST /checkv2` of a normal worker).

use std::collections::BTreeMap;
use std::time::Duration;

use relevo_fetch::{FetchLimits, FetchRequest, Fetcher, Method};
use relevo_mailkit::text::one_line;
use serde::Deserialize;

use super::{MAX_RULES, SpamScore};

pub(super) const NAME: &str = "rspamd";
/// Octets of an answer.
const MAX_ANSWER: usize = 1 << 20;

#[derive(Deserialize)]
struct Answer {
    score: f64,
    required_score: f64,
    #[serde(default)]
    symbols: BTreeMap<String, Symbol>,
}

#[derive(Deserialize)]
struct Symbol {
    #[serde(default)]
    score: f64,
}

/// Asks for the score and the symbols of a message.
pub(super) async fn ask(
    fetcher: &Fetcher,
    url: &str,
    message: &[u8],
    time: Duration,
) -> Result<SpamScore, String> {
    let request = FetchRequest {
        method: Method::Post,
        url: format!("{}/checkv2", url.trim_end_matches('/')),
        headers: vec![("content-type".to_owned(), "message/rfc822".to_owned())],
        body: message.to_vec(),
    };
    let limits = FetchLimits { time, body: MAX_ANSWER, cut: false, clear: true };
    let response = fetcher.send(request, limits).await.map_err(|error| {
        // Where it is is the operator's business.
        tracing::warn!(url, %error, "no score of rspamd");
        "it cannot be reached".to_owned()
    })?;
    if response.status != 200 {
        return Err(format!("it answers {}", response.status));
    }
    read(&response.body)
}

/// Symbols by what they add to the score. Those that add nothing are named only if none does more:
/// GTUBE is such a one.
fn read(body: &[u8]) -> Result<SpamScore, String> {
    let Answer { score, required_score, symbols } =
        serde_json::from_slice(body).map_err(|error| format!("not an answer of Rspamd: {error}"))?;
    let mut symbols: Vec<(f64, String)> =
        symbols.into_iter().map(|(name, symbol)| (symbol.score, one_line(&name, 100))).collect();
    if symbols.iter().any(|(score, _)| *score != 0.0) {
        symbols.retain(|(score, _)| *score != 0.0);
    }
    symbols.sort_by(|(a, _), (b, _)| b.abs().total_cmp(&a.abs()));
    symbols.truncate(MAX_RULES);
    let rules = symbols.into_iter().map(|(_, name)| name).collect();
    Ok(SpamScore { filter: NAME, score, threshold: required_score, rules })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let body = br#"{"is_skipped":false,"score":15.2,"required_score":15.0,"action":"reject","symbols":{
            "GTUBE":{"name":"GTUBE","score":0.0},"MISSING_DATE":{"score":1.0,"options":[]},"R_BAD":{"score":-5}}}"#;
        let score = read(body).expect("an answer");
        assert_eq!((score.score, score.threshold), (15.2, 15.0));
        assert_eq!(score.rules, ["R_BAD", "MISSING_DATE"]);
        let gtube = br#"{"is_skipped":true,"score":15.0,"required_score":15.0,"action":"reject","symbols":{
            "GTUBE":{"name":"GTUBE","score":0.0,"metric_score":0.0}},"messages":{"smtp_message":"Gtube pattern"}}"#;
        assert_eq!(read(gtube).expect("an answer").rules, ["GTUBE"]);
        assert!(read(b"{}").is_err() && read(b"<html>").is_err());
    }
}
