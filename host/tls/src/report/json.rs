//! The report (RFC 8460 section 4.4).

use std::io::{self, Write as _};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::tally::DomainTally;

/// The day that a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportSpan {
    /// Days since 1970 in UTC.
    pub day: i64,
}

impl ReportSpan {
    /// The first and the last second of the day, since 1970.
    #[must_use]
    pub fn seconds(self) -> (i64, i64) {
        let first = self.day.saturating_mul(86_400);
        (first, first.saturating_add(86_399))
    }

    fn in_words(self) -> (String, String) {
        let (first, last) = self.seconds();
        let words =
            |seconds| Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default();
        (words(first), words(last))
    }
}

/// A report about one domain and day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report<'a> {
    /// Who reports.
    pub organization: &'a str,
    /// Whom to ask about it.
    pub contact: &'a str,
    /// Unique.
    pub id: &'a str,
    /// The policy domain.
    pub domain: &'a str,
    /// The day.
    pub span: ReportSpan,
    /// What was counted.
    pub tally: &'a DomainTally,
}

impl Report<'_> {
    /// The report as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let (start, end) = self.span.in_words();
        let policies: Vec<Value> = self.tally.policies.iter().map(|policy| self.policy(policy)).collect();
        json!({
            "organization-name": self.organization,
            "date-range": { "start-datetime": start, "end-datetime": end },
            "contact-info": self.contact,
            "report-id": self.id,
            "policies": policies,
        })
    }

    fn policy(&self, (policy, counts): &(Arc<super::TallyPolicy>, super::PolicyTally)) -> Value {
        let mut described = serde_json::to_value(&**policy).unwrap_or_default();
        described["policy-domain"] = self.domain.into();
        let details: Vec<Value> = counts
            .details
            .iter()
            .map(|(detail, count)| {
                let mut detail = serde_json::to_value(detail).unwrap_or_default();
                detail["failed-session-count"] = (*count).into();
                detail
            })
            .collect();
        let mut value = json!({
            "policy": described,
            "summary": {
                "total-successful-session-count": counts.successes,
                "total-failure-session-count": counts.failures,
            },
        });
        if !details.is_empty() {
            value["failure-details"] = details.into();
        }
        value
    }
}

/// The report as JSON in gzip.
///
/// # Errors
/// There is no memory.
pub fn compressed(report: &Value) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(report.to_string().as_bytes())?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::super::{FailureDetail, PolicyKind, SessionOutcome, TallyPolicy};
    use super::*;

    #[test]
    fn the_report_has_the_shape_of_the_rfc() {
        let mut tally = DomainTally::default();
        let policy = TallyPolicy {
            kind: PolicyKind::Sts,
            lines: vec!["version: STSv1".into(), "mode: testing".into()],
            mx: vec!["*.mail.company-y.example".into()],
        };
        let policy = Arc::new(policy);
        let detail = FailureDetail {
            result_type: "certificate-expired".into(),
            sending_ip: "2001:db8::1".parse().ok(),
            host: Some("mx1.mail.company-y.example".into()),
            receiving_ip: None,
            reason: None,
        };
        tally.count(&policy, SessionOutcome::Success);
        tally.count(&policy, SessionOutcome::Failure(detail.clone()));
        tally.count(&policy, SessionOutcome::Failure(detail));
        let report = Report {
            organization: "Company-X",
            contact: "sts-reporting@company-x.example",
            id: "5065427c-23d3",
            domain: "company-y.example",
            span: ReportSpan { day: 16_892 },
            tally: &tally,
        };
        let value = report.to_json();
        let expected = json!({
            "organization-name": "Company-X",
            "date-range": {
                "start-datetime": "2016-04-01T00:00:00Z",
                "end-datetime": "2016-04-01T23:59:59Z"
            },
            "contact-info": "sts-reporting@company-x.example",
            "report-id": "5065427c-23d3",
            "policies": [{
                "policy": {
                    "policy-type": "sts",
                    "policy-string": ["version: STSv1", "mode: testing"],
                    "policy-domain": "company-y.example",
                    "mx-host": ["*.mail.company-y.example"]
                },
                "summary": { "total-successful-session-count": 1, "total-failure-session-count": 2 },
                "failure-details": [{
                    "result-type": "certificate-expired",
                    "sending-mta-ip": "2001:db8::1",
                    "receiving-mx-hostname": "mx1.mail.company-y.example",
                    "failed-session-count": 2
                }]
            }]
        });
        assert_eq!(value, expected);
        let mut text = String::new();
        let octets = compressed(&value).unwrap();
        flate2::read::GzDecoder::new(&octets[..]).read_to_string(&mut text).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    }
}
