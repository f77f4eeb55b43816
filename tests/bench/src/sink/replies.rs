//! The wording of large receivers, from `sinks/replies.toml`.

use std::collections::HashMap;
use std::net::IpAddr;

use anyhow::{Result, ensure};
use serde::Deserialize;

/// When a refusal is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Stage {
    /// To RCPT.
    Rcpt,
    /// After the final dot.
    Data,
}

/// A refusal, of one or more lines.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reply {
    /// When.
    pub(super) stage: Stage,
    /// As on the wire, lines parted by `\n`, with `{ip}` for the client's address.
    pub(super) text: String,
}

impl Reply {
    /// 5xx.
    pub(super) fn permanent(&self) -> bool {
        self.text.starts_with('5')
    }

    /// 421: the connection is closed after it (RFC 5321 section 3.8).
    pub(super) fn closes(&self) -> bool {
        self.text.starts_with("421")
    }

    /// For the wire.
    pub(super) fn render(&self, client: IpAddr) -> String {
        self.text.replace("{ip}", &client.to_string()).replace('\n', "\r\n") + "\r\n"
    }
}

/// How one receiver words its refusals.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Provider {
    /// 4xx.
    pub(super) temporary: Vec<Reply>,
    /// 5xx.
    pub(super) permanent: Vec<Reply>,
    /// 421 to a connection too many.
    pub(super) connections: Option<String>,
}

/// All that are known.
///
/// # Errors
/// The file has a mistake: what is temporary is not 4xx, lines of one reply differ in their code.
pub(super) fn providers() -> Result<HashMap<String, Provider>> {
    let providers: HashMap<String, Provider> = toml::from_str(include_str!("../../sinks/replies.toml"))?;
    for (name, provider) in &providers {
        for (class, replies) in [('4', &provider.temporary), ('5', &provider.permanent)] {
            for reply in replies {
                ensure!(well_formed(class, &reply.text), "{name}: {}", reply.text);
            }
        }
        ensure!(
            provider.connections.as_ref().is_none_or(|text| well_formed('4', text)),
            "{name}: connections"
        );
    }
    Ok(providers)
}

/// One code, a hyphen on all lines but the last (RFC 5321 section 4.2.1), no line too long.
fn well_formed(class: char, text: &str) -> bool {
    let lines: Vec<&str> = text.split('\n').collect();
    let code = text.get(..3).unwrap_or_default();
    code.starts_with(class)
        && code.bytes().all(|b| b.is_ascii_digit())
        && lines.iter().enumerate().all(|(at, line)| {
            let mark = if at + 1 == lines.len() { " " } else { "-" };
            line.len() < 510 && line.strip_prefix(code).is_some_and(|rest| rest.starts_with(mark))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_good_and_is_rendered() {
        let providers = providers().expect("good");
        for name in ["gmail", "outlook", "yahoo", "small"] {
            let provider = &providers[name];
            assert!(!provider.temporary.is_empty() && !provider.permanent.is_empty(), "{name}");
            for reply in provider.temporary.iter().chain(&provider.permanent) {
                let wire = reply.render("192.0.2.7".parse().expect("an address"));
                assert!(wire.ends_with("\r\n") && !wire.contains("{ip}"), "{wire}");
            }
        }
    }

    #[test]
    fn lines_of_one_reply_have_one_code() {
        assert!(well_formed('4', "450-4.2.1 a\n450 4.2.1 b"));
        for bad in ["450-a\n451 b", "450 a\n450 b", "450-a", "550 a", "45x a", ""] {
            assert!(!well_formed('4', bad), "{bad}");
        }
    }
}
