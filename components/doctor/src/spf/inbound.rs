//! SPF of mail that comes in.

use std::net::IpAddr;

use super::evaluate::{SpfResult, evaluate};
use crate::facts::{Answers, Lookups, Question};

/// The identity that SPF is about (section 2.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpfIdentity {
    /// The peer.
    pub address: IpAddr,
    /// The domain whose record decides, in lower case.
    pub domain: String,
    /// The reverse-path, or `postmaster` at the EHLO name.
    pub sender: String,
    /// The argument of EHLO.
    pub helo: String,
}

impl SpfIdentity {
    /// Of a transaction. The EHLO name stands in for the null reverse-path (section 2.4).
    #[must_use]
    pub fn of(address: IpAddr, reverse_path: &str, helo: &str) -> Self {
        let helo = helo.trim_end_matches('.').to_ascii_lowercase();
        let (domain, sender) = match reverse_path.rsplit_once('@') {
            Some((_, domain)) => (domain.to_ascii_lowercase(), reverse_path.to_owned()),
            None => (helo.clone(), format!("postmaster@{helo}")),
        };
        Self { address, domain, sender, helo }
    }
}

/// The result of `check_host()` (section 4).
///
/// # Errors
/// The questions that must be answered first. Their number is bounded by section 4.6.4.
pub fn check_host(identity: &SpfIdentity, answers: &Answers) -> Result<SpfResult, Vec<Question>> {
    let SpfIdentity { address, domain, sender, helo } = identity;
    // Section 4.3: an address literal or a name of one label has no policy.
    if domain.starts_with('[') || !domain.contains('.') {
        return Ok(SpfResult::None);
    }
    let lookups = Lookups::new(answers);
    evaluate(&lookups, *address, domain, sender, helo).map_err(|_| lookups.missing())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Answer, RecordKind};

    fn ask(identity: &SpfIdentity, zone: &[(&str, &str)]) -> (SpfResult, usize) {
        let (mut answers, mut rounds) = (Answers::default(), 0);
        loop {
            let questions = match check_host(identity, &answers) {
                Ok(result) => return (result, rounds),
                Err(questions) => questions,
            };
            rounds += 1;
            assert!(!questions.is_empty() && rounds < 100, "{questions:?}");
            for question in questions {
                let is_it =
                    |(name, _): &&(&str, &str)| question.kind == RecordKind::Txt && *name == question.name;
                let found = zone.iter().find(is_it).map(|(_, text)| vec![(*text).to_owned()]);
                answers.insert(question, found.map_or(Answer::Nothing, Answer::Found));
            }
        }
    }

    #[test]
    fn the_reverse_path_decides_and_the_ehlo_name_where_it_is_null() {
        let zone = [
            ("a.test", "v=spf1 include:b.test ~all"),
            ("b.test", "v=spf1 ip4:192.0.2.1 -all"),
            ("mx.test", "v=spf1 ip4:192.0.2.9 -all"),
        ];
        let result = |ip: &str, from: &str, helo: &str| {
            let identity = SpfIdentity::of(ip.parse().expect("an address"), from, helo);
            ask(&identity, &zone).0.name()
        };
        assert_eq!(result("192.0.2.1", "x@A.test", "mx.test"), "pass");
        assert_eq!(result("::ffff:192.0.2.1", "x@a.test", "mx.test"), "pass");
        assert_eq!(result("192.0.2.2", "x@a.test", "mx.test"), "softfail");
        assert_eq!(result("192.0.2.9", "", "MX.test."), "pass");
        assert_eq!(result("192.0.2.1", "", "mx.test"), "fail");
        assert_eq!(result("192.0.2.1", "x@none.test", "mx.test"), "none");
        for helo in ["[192.0.2.1]", "localhost", ""] {
            assert_eq!(result("192.0.2.1", "", helo), "none", "{helo}");
        }
    }

    #[test]
    fn a_loop_of_includes_ends() {
        let identity = SpfIdentity::of([192, 0, 2, 1].into(), "x@a.test", "mx.test");
        let (result, rounds) = ask(&identity, &[("a.test", "v=spf1 include:a.test -all")]);
        assert!(matches!(result, SpfResult::PermError(_)) && rounds == 1, "{result:?} {rounds}");
    }
}
