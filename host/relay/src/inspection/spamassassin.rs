//! Scores of a SpamAssassin: a client of spamd (SPAMC protocol 1.5, `spamd/PROTOCOL`).

use relevo_mailkit::text::one_line;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{MAX_RULES, SpamScore};

pub(super) const NAME: &str = "spamassassin";
/// Octets of an answer.
const MAX_ANSWER: u64 = 64 << 10;

/// Asks for the score and the rules of a message.
pub(super) async fn ask(address: &str, message: &[u8]) -> Result<SpamScore, String> {
    let answer = exchange(address, message).await.map_err(|error| {
        // Where it is is the operator's business.
        tracing::warn!(address, %error, "no score of spamassassin");
        "it cannot be reached".to_owned()
    })?;
    read(&String::from_utf8_lossy(&answer))
}

async fn exchange(address: &str, message: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!("SYMBOLS SPAMC/1.5\r\nContent-length: {}\r\n\r\n", message.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(message).await?;
    stream.shutdown().await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(answer)
}

/// `SPAMD/1.1 0 EX_OK`, fields with `Spam: True ; 1000.0 / 5.0`, an empty line, and the rules.
fn read(answer: &str) -> Result<SpamScore, String> {
    let strange = || format!("not an answer of spamd: {}", one_line(answer, 100));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(strange)?;
    let mut lines = head.split("\r\n");
    let mut status = lines.next().unwrap_or_default().split_whitespace();
    let (version, code) = (status.next().unwrap_or_default(), status.next());
    if !version.starts_with("SPAMD/") {
        return Err(strange());
    }
    if code != Some("0") {
        return Err(format!("spamd says {}", one_line(head.lines().next().unwrap_or_default(), 100)));
    }
    let field = lines.filter_map(|line| line.split_once(':'));
    let found = field.filter(|(name, _)| name.trim().eq_ignore_ascii_case("spam")).find_map(|(_, value)| {
        let (_, numbers) = value.split_once(';')?;
        let (score, threshold) = numbers.split_once('/')?;
        Some((number(score)?, number(threshold)?))
    });
    let (score, threshold) = found.ok_or_else(strange)?;
    let rules = body.split(',').map(|rule| one_line(rule, 100)).filter(|rule| !rule.is_empty());
    Ok(SpamScore { filter: NAME, score, threshold, rules: rules.take(MAX_RULES).collect() })
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let answer = "SPAMD/1.1 0 EX_OK\r\nContent-length: 22\r\nSpam: True ; 1000.0 / 5.0\r\n\r\nGTUBE,NO_RECEIVED\r\n";
        let score = read(answer).expect("an answer");
        assert_eq!((score.score, score.threshold), (1000.0, 5.0));
        assert_eq!(score.rules, ["GTUBE", "NO_RECEIVED"]);
        let clean = read("SPAMD/1.1 0 EX_OK\r\nSpam: False ; -0.1 / 5.0\r\n\r\n").expect("an answer");
        assert_eq!((clean.score, clean.rules.len()), (-0.1, 0));
    }

    #[test]
    fn what_is_no_answer_is_told() {
        for answer in [
            "",
            "HTTP/1.1 400 Bad Request\r\n\r\n",
            "SPAMD/1.0 76 Bad header line\r\n\r\n",
            "SPAMD/1.1 0 EX_OK\r\nSpam: True ; x / 5.0\r\n\r\n",
            "SPAMD/1.1 0 EX_OK\r\nSpam: True ; NaN / 5.0\r\n\r\n",
            "SPAMD/1.1 0 EX_OK\r\n\r\nGTUBE",
        ] {
            assert!(read(answer).is_err(), "{answer}");
        }
    }
}
