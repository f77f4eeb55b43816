//! The policy file (RFC 8461 section 3.2).

use std::time::Duration;

/// Octets of a policy file (section 3.3 lets a sender bound them).
pub const MAX_POLICY: usize = 64 * 1024;
/// The longest `max_age`: about a year (section 3.2).
const MAX_AGE: u64 = 31_557_600;
/// Patterns of one policy.
const MAX_PATTERNS: usize = 1_000;

/// What is done about hosts that break a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StsMode {
    /// They get no mail.
    Enforce,
    /// They get mail, and the domain gets a report.
    Testing,
    /// There is no policy any more.
    None,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsPolicy {
    /// What is done.
    pub mode: StsMode,
    /// Names of mail hosts in A-labels and lower case; with `*.` before them for one label more.
    pub mx: Vec<String>,
    /// How long it holds after it was fetched.
    pub max_age: Duration,
}

/// Why a policy file is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It is too large.
    #[error("the policy has more than {MAX_POLICY} octets")]
    TooLarge,
    /// It is no text.
    #[error("the policy is not UTF-8")]
    NotText,
    /// A line is no field.
    #[error("line {0} of the policy is not `name: value`")]
    Line(usize),
    /// A field is missing.
    #[error("the policy has no {0}")]
    Missing(&'static str),
    /// A field has a value that it cannot have.
    #[error("the policy has an invalid {0}")]
    Invalid(&'static str),
}

impl StsPolicy {
    /// Reads a policy file. Lines end with CRLF or LF. Fields that are not known are ignored; of a
    /// field other than `mx` that is there again, the first counts.
    ///
    /// # Errors
    /// It is no valid policy.
    pub fn parse(octets: &[u8]) -> Result<Self, PolicyError> {
        if octets.len() > MAX_POLICY {
            return Err(PolicyError::TooLarge);
        }
        let text = std::str::from_utf8(octets).map_err(|_| PolicyError::NotText)?;
        let (mut version, mut mode, mut max_age, mut mx) = (None, None, None, Vec::new());
        for (number, line) in text.split('\n').enumerate() {
            let line = line.strip_suffix('\r').unwrap_or(line);
            if line.trim_matches([' ', '\t']).is_empty() {
                continue;
            }
            let (name, value) = field(line).ok_or(PolicyError::Line(number + 1))?;
            match name {
                "version" => _ = version.get_or_insert(value),
                "mode" => _ = mode.get_or_insert(value),
                "max_age" => _ = max_age.get_or_insert(value),
                "mx" if mx.len() < MAX_PATTERNS => mx.push(pattern(value).ok_or(PolicyError::Invalid("mx"))?),
                "mx" => return Err(PolicyError::Invalid("mx")),
                _ => {}
            }
        }
        if version.ok_or(PolicyError::Missing("version"))? != "STSv1" {
            return Err(PolicyError::Invalid("version"));
        }
        let mode = match mode.ok_or(PolicyError::Missing("mode"))? {
            "enforce" => StsMode::Enforce,
            "testing" => StsMode::Testing,
            "none" => StsMode::None,
            _ => return Err(PolicyError::Invalid("mode")),
        };
        let age = max_age.ok_or(PolicyError::Missing("max_age"))?;
        let is_number = (1..=10).contains(&age.len()) && age.bytes().all(|octet| octet.is_ascii_digit());
        let age: u64 = age.parse().ok().filter(|_| is_number).ok_or(PolicyError::Invalid("max_age"))?;
        if mx.is_empty() && mode != StsMode::None {
            return Err(PolicyError::Missing("mx"));
        }
        Ok(Self { mode, mx, max_age: Duration::from_secs(age.min(MAX_AGE)) })
    }

    /// Returns true if the policy names this host: in A-labels, in any case. A pattern with `*.`
    /// stands for exactly one label (section 4.1).
    #[must_use]
    pub fn names_host(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.mx.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(parent) => {
                host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent)
            }
            None => *pattern == host,
        })
    }
}

fn field(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    let name = name.trim_end_matches([' ', '\t']);
    let mut octets = name.bytes();
    let is_name = octets.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && octets.all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b'-' | b'.'));
    is_name.then(|| (name, value.trim_matches([' ', '\t'])))
}

/// A pattern in A-labels and lower case.
fn pattern(value: &str) -> Option<String> {
    let (wildcard, name) = match value.strip_prefix("*.") {
        Some(name) => ("*.", name),
        None => ("", value),
    };
    let name = idna::domain_to_ascii(name).ok()?;
    let name = name.strip_suffix('.').unwrap_or(&name);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
    };
    (name.len() <= 253 && name.split('.').all(is_label)).then(|| format!("{wildcard}{name}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<StsPolicy, PolicyError> {
        StsPolicy::parse(text.as_bytes())
    }

    #[test]
    fn the_example_of_the_rfc_is_read() {
        let text = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\n\
                    mx: backupmx.example.com\r\nmax_age: 604800\r\n";
        let policy = parse(text).unwrap();
        assert_eq!(policy.mode, StsMode::Enforce);
        assert_eq!(policy.mx, ["mail.example.com", "*.example.net", "backupmx.example.com"]);
        assert_eq!(policy.max_age, Duration::from_secs(604_800));
        assert_eq!(parse(&text.replace("\r\n", "\n")).unwrap(), policy);
        assert_eq!(parse(text.trim_end()).unwrap(), policy, "the last line needs no end");
    }

    #[test]
    fn the_first_of_a_field_counts_and_others_are_ignored() {
        let text = "version:STSv1\nversion: STSv2\nmode: testing\nmode: enforce\nx-new.field: 1:2\n\
                    max_age: 86400\nmax_age: nothing\nmx:\t a.example \n";
        let policy = parse(text).unwrap();
        assert_eq!((policy.mode, policy.max_age), (StsMode::Testing, Duration::from_secs(86_400)));
        assert_eq!(policy.mx, ["a.example"]);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let good = "version: STSv1\nmode: enforce\nmx: a.example\nmax_age: 60\n";
        assert!(parse(good).is_ok());
        let bad = [
            (good.replace("version: STSv1\n", ""), PolicyError::Missing("version")),
            (good.replace("STSv1", "STSv2"), PolicyError::Invalid("version")),
            (good.replace("mode: enforce\n", ""), PolicyError::Missing("mode")),
            (good.replace("enforce", "Enforce"), PolicyError::Invalid("mode")),
            (good.replace("mx: a.example\n", ""), PolicyError::Missing("mx")),
            (good.replace("a.example", "*.*.example"), PolicyError::Invalid("mx")),
            (good.replace("a.example", "a..example"), PolicyError::Invalid("mx")),
            (good.replace("a.example", "a b"), PolicyError::Invalid("mx")),
            (good.replace("max_age: 60\n", ""), PolicyError::Missing("max_age")),
            (good.replace("60", "-1"), PolicyError::Invalid("max_age")),
            (good.replace("60", "12345678901"), PolicyError::Invalid("max_age")),
            (good.replace("mode:", "mode"), PolicyError::Line(2)),
            ("<html>".to_owned(), PolicyError::Line(1)),
        ];
        for (text, error) in bad {
            assert_eq!(parse(&text), Err(error), "{text}");
        }
        assert_eq!(StsPolicy::parse(&vec![b'\n'; MAX_POLICY + 1]), Err(PolicyError::TooLarge));
        assert_eq!(StsPolicy::parse(b"version: \xff"), Err(PolicyError::NotText));
        assert!(parse("version: STSv1\nmode: none\nmax_age: 60\n").is_ok(), "none needs no host");
        let year = parse(&good.replace("60", "9999999999")).unwrap();
        assert_eq!(year.max_age, Duration::from_secs(MAX_AGE));
    }

    #[test]
    fn a_pattern_stands_for_one_label() {
        let text = "version: STSv1\nmode: enforce\nmax_age: 60\nmx: *.example.net\nmx: Mail.Example.com\n\
                    mx: *.b\u{fc}cher.example\n";
        let policy = parse(text).unwrap();
        for host in ["a.example.net", "A.EXAMPLE.NET.", "mail.example.com", "mx.xn--bcher-kva.example"] {
            assert!(policy.names_host(host), "{host}");
        }
        for host in ["example.net", "a.b.example.net", ".example.net", "evil-example.net", "x.example.com"] {
            assert!(!policy.names_host(host), "{host}");
        }
    }

    proptest! {
        #[test]
        fn no_input_breaks_the_parser(octets in proptest::collection::vec(any::<u8>(), 0..400), host in ".{0,40}") {
            if let Ok(policy) = StsPolicy::parse(&octets) {
                let _ = policy.names_host(&host);
            }
        }

        #[test]
        fn a_policy_reads_as_it_was_written(
            hosts in proptest::collection::vec("(\\*\\.)?[a-z]{1,8}(\\.[a-z]{1,8}){1,3}", 1..6),
            age in 0_u64..=MAX_AGE,
            lf in any::<bool>(),
        ) {
            let end = if lf { "\n" } else { "\r\n" };
            let mut text = format!("version: STSv1{end}mode: enforce{end}max_age: {age}{end}");
            for host in &hosts {
                text += &format!("mx: {host}{end}");
            }
            let policy = parse(&text).unwrap();
            prop_assert_eq!(&policy.mx, &hosts);
            for host in hosts {
                prop_assert!(policy.names_host(&host.replace('*', "one")));
            }
        }
    }
}
