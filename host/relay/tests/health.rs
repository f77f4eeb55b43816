//! Zones that are right, and zones that are wrong in one point: `tests/cases/doctor`. Each answer comes
//! from a name server on loopback. A record that a check says to paste is pasted, and the check must
//! pass then.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use relevo_relay::health::doctor::{
    Check, DkimKey, DnsRecord, ReturnDomain, Source, Status, Subject, TrackingHost, TrackingReply,
};
use relevo_relay::health::{Certificate, judged};
use relevo_resolve::testing::{TestDns, Trouble};
use relevo_resolve::{HickoryResolver, LookUp, ResolverConfig, Tuning};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/doctor")
}

/// A zone as a list of records: type, name, value.
type Zone = Vec<[String; 3]>;

/// A case: the zone `right.zone` with changes, the subject with changes, and the checks that do not
/// pass.
struct Case {
    zone: Zone,
    troubles: Vec<[String; 2]>,
    subject: Subject,
    expected: BTreeSet<String>,
}

fn three(text: &str) -> [String; 3] {
    let mut parts = text.splitn(3, ' ').map(str::to_owned);
    [(); 3].map(|()| parts.next().unwrap_or_default())
}

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

fn right_zone() -> Zone {
    lines(&folder().join("right.zone")).iter().map(|line| three(line)).collect()
}

fn right_subject(zone: &Zone) -> Subject {
    let key = |selector: &str| {
        let name = format!("{selector}._domainkey.example.com");
        let record = zone.iter().find(|[_, n, _]| *n == name).unwrap()[2].clone();
        DkimKey { selector: selector.to_owned(), record }
    };
    Subject {
        domain: "example.com".into(),
        hostname: "mta1.example.com".into(),
        sources: vec![Source { address: "192.0.2.1".parse().unwrap(), ehlo: "mta1.example.com".into() }],
        ehlo: "mta1.example.com".into(),
        spf_terms: vec!["a:mta1.example.com".into(), "ip4:192.0.2.1".into()],
        dkim: vec![key("rsa"), key("ed")],
        certificates: vec![Certificate {
            listener: "smtp".into(),
            ends_at: 90 * 86_400,
            names: vec!["mta1.example.com".into()],
            is_self_signed: false,
        }],
        tracking: Some(TrackingHost {
            host: "links.example.com".into(),
            is_https: true,
            reply: TrackingReply::Answered(404),
        }),
        ..Subject::default()
    }
}

impl Case {
    fn right() -> Self {
        let zone = right_zone();
        let subject = right_subject(&zone);
        Self { zone, troubles: Vec::new(), subject, expected: BTreeSet::new() }
    }

    fn read(path: &Path) -> Self {
        let mut case = Self::right();
        for line in lines(path) {
            let (sign, rest) = line.split_once(' ').unwrap();
            let [kind, name, value] = three(rest);
            match sign {
                "-" => {
                    let before = case.zone.len();
                    case.zone.retain(|[k, n, _]| !(*k == kind && *n == name));
                    assert!(case.zone.len() < before, "{}: {line}: nothing to remove", path.display());
                }
                "+" => case.zone.push([kind, name, value]),
                "!" => case.troubles.push([kind, name]),
                "subject" => case.change(&kind, &name),
                "expect" => drop(case.expected.insert(rest.to_owned())),
                _ => panic!("{}: {line}", path.display()),
            }
        }
        case
    }

    fn change(&mut self, what: &str, value: &str) {
        let subject = &mut self.subject;
        match what {
            "return_domain" => subject.return_domain = Some(ReturnDomain { name: value.into() }),
            "certificate_ends" => subject.certificates[0].ends_at = value.parse().unwrap(),
            "tracking" => {
                let tracking = subject.tracking.as_mut().unwrap();
                match value {
                    "http" => tracking.is_https = false,
                    "certificate" => tracking.reply = TrackingReply::Certificate("of another name".into()),
                    _ => subject.tracking = None,
                }
            }
            "dkim" => subject.dkim.clear(),
            _ => panic!("{what} {value}"),
        }
    }

    async fn judge(&self) -> Vec<Check> {
        let dns = TestDns::start().await.unwrap();
        for [kind, name, value] in &self.zone {
            publish(&dns, kind, name, value);
        }
        for [kind, name] in &self.troubles {
            dns.trouble(name, Some(kind), Trouble::ServFail);
        }
        let config = ResolverConfig { nameservers: vec![dns.addr()], ..ResolverConfig::default() };
        let tuning = Tuning { remember: false, ..Tuning::default() };
        let look_up: Arc<dyn LookUp> = Arc::new(HickoryResolver::tuned(config, tuning).unwrap());
        judged(&look_up, &self.subject).await
    }

    /// Pastes a record into the zone, as its owner would.
    fn paste(&mut self, record: &DnsRecord) {
        let DnsRecord { kind, name, value, replaces } = record;
        self.zone.retain(|[k, n, v]| !(k == kind && n == name && replaces.contains(v)));
        self.zone.push([(*kind).to_owned(), name.clone(), value.clone()]);
    }

    /// Pastes each record that is asked for. The check that asks for it must pass then.
    async fn mend(&mut self) -> Result<(), String> {
        for _ in 0..3 {
            let wrong = self.judge().await.into_iter().find(|check| check.record.is_some());
            let Some(Check { check, about, record: Some(record), .. }) = wrong else { return Ok(()) };
            self.paste(&record);
            let again = self.judge().await;
            let same = again.iter().find(|c| c.check == check && c.about == about);
            if same.is_none_or(|same| same.status != Status::Pass) {
                return Err(format!("{record:?} is pasted, and still {check} {about:?}: {same:#?}"));
            }
        }
        Err("more than three records are needed".to_owned())
    }
}

fn publish(dns: &TestDns, kind: &str, name: &str, value: &str) {
    match kind {
        // In strings of 100 octets: receivers join them.
        "TXT" => {
            let strings = value.as_bytes().chunks(100).map(|chunk| std::str::from_utf8(chunk).unwrap());
            dns.txt(name, &strings.collect::<Vec<_>>());
        }
        "A" | "AAAA" => drop(dns.address(name, &[value.parse().unwrap()])),
        "MX" => {
            let (preference, host) = value.split_once(' ').unwrap_or((value, ""));
            dns.mx(name, &[(preference.parse().unwrap(), host)]);
        }
        "PTR" => drop(dns.ptr(name, value)),
        "CNAME" => drop(dns.cname(name, value)),
        "CAA" => {
            let [flags, tag, value] = three(value);
            dns.caa(name, flags == "128", &tag, &value);
        }
        _ => panic!("{kind}"),
    }
}

/// The checks that do not pass. Nobody knows the rates of complaints.
fn findings(checks: &[Check]) -> BTreeSet<String> {
    let known = checks.iter().filter(|check| !check.check.ends_with(".complaints"));
    let key = |check: &Check| {
        format!("{} {} {}", check.status.as_str(), check.check, check.about.as_deref().unwrap_or_default())
    };
    known.filter(|check| check.status != Status::Pass).map(key).collect()
}

#[tokio::test]
async fn every_check_passes_on_a_right_zone() {
    let checks = Case::right().judge().await;
    assert_eq!(findings(&checks), BTreeSet::new(), "{checks:#?}");
    let names: BTreeSet<&str> = checks.iter().map(|check| check.check).collect();
    for name in [
        "spf.record",
        "spf.length",
        "spf.lookups",
        "spf.all",
        "spf.sources",
        "spf.ehlo",
        "dkim.record",
        "dkim.length",
        "dmarc.record",
        "dmarc.alignment",
        "return_path.mx",
        "ehlo.address",
        "ptr",
        "tls.certificate",
        "tracking.host",
        "tracking.caa",
        "tracking.certificate",
        "unsubscribe.one_click",
        "gmail.one_click",
        "yahoo.dmarc",
        "microsoft.alignment",
    ] {
        assert!(names.contains(name), "no {name} among {names:?}");
    }
}

#[tokio::test]
async fn a_zone_that_is_wrong_in_one_point_fails_there_until_the_record_is_pasted() {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "case"));
    files.sort();
    assert!(files.len() >= 60, "only {} cases", files.len());
    let mut wrong = Vec::new();
    for path in files {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let mut case = Case::read(&path);
        let checks = case.judge().await;
        let found = findings(&checks);
        if found != case.expected {
            let words: Vec<_> =
                checks.iter().filter(|c| c.status != Status::Pass).map(|c| (c.check, &c.message)).collect();
            wrong.push(format!("{name}: found {found:#?}\nexpected {:#?}\n{words:#?}", case.expected));
        } else if let Err(problem) = case.mend().await {
            wrong.push(format!("{name}: {problem}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
