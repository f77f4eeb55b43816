//! The report as a mail (RFC 8460 section 5.3).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::fmt::rfc2822;

use super::json::ReportSpan;

/// Characters of a line of base64.
const LINE: usize = 76;

/// A report to be sent by mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportMail<'a> {
    /// The address that it comes from.
    pub from: &'a str,
    /// Where it goes.
    pub to: &'a str,
    /// The policy domain.
    pub domain: &'a str,
    /// The domain that reports.
    pub submitter: &'a str,
    /// Unique: letters, digits, `-` and `.`.
    pub id: &'a str,
    /// The day.
    pub span: ReportSpan,
    /// The report in gzip.
    pub gzip: &'a [u8],
    /// When it is written, in seconds since 1970.
    pub now: i64,
}

/// The name of the file (section 5.1).
#[must_use]
pub fn file_name(submitter: &str, domain: &str, span: ReportSpan, unique: &str) -> String {
    let (first, last) = span.seconds();
    format!("{submitter}!{domain}!{first}!{last}!{unique}.json.gz")
}

impl ReportMail<'_> {
    /// The subject (section 5.3).
    #[must_use]
    pub fn subject(&self) -> String {
        let Self { domain, submitter, .. } = self;
        format!("Report Domain: {domain} Submitter: {submitter} Report-ID: <{}>", self.message_id())
    }

    /// The Message-ID, without angle brackets.
    #[must_use]
    pub fn message_id(&self) -> String {
        format!("{}@{}", self.id, self.submitter)
    }

    /// The whole message, with CRLF.
    #[must_use]
    pub fn compose(&self) -> Vec<u8> {
        let Self { from, to, domain, submitter, id, .. } = self;
        let date = Timestamp::from_second(self.now).ok().and_then(|now| {
            rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).ok().map(|date| {
                // RFC 5322 has a number where HTTP has a name.
                date.replace("GMT", "+0000")
            })
        });
        let boundary = format!("=_tlsrpt_{id}");
        let name = file_name(submitter, domain, self.span, id);
        let (first, last) = self.span.seconds();
        let mut lines = vec![
            format!("From: <{from}>"),
            format!("To: <{to}>"),
            format!("Date: {}", date.unwrap_or_default()),
            format!("Message-ID: <{}>", self.message_id()),
            format!("Subject: Report Domain: {domain}"),
            format!(" Submitter: {submitter}"),
            format!(" Report-ID: <{}>", self.message_id()),
            format!("TLS-Report-Domain: {domain}"),
            format!("TLS-Report-Submitter: {submitter}"),
            "Auto-Submitted: auto-generated".to_owned(),
            // It is about TLS that fails: a later hop must not hold it up for that (RFC 8689 section 5).
            "TLS-Required: No".to_owned(),
            "MIME-Version: 1.0".to_owned(),
            "Content-Type: multipart/report; report-type=\"tlsrpt\";".to_owned(),
            format!(" boundary=\"{boundary}\""),
            String::new(),
            format!("--{boundary}"),
            "Content-Type: text/plain; charset=us-ascii".to_owned(),
            "Content-Transfer-Encoding: 7bit".to_owned(),
            String::new(),
            "This is an aggregate TLS report (RFC 8460).".to_owned(),
            format!("Policy domain: {domain}"),
            format!("Submitter: {submitter}"),
            format!("Seconds since 1970: {first} to {last}"),
            String::new(),
            format!("--{boundary}"),
            "Content-Type: application/tlsrpt+gzip".to_owned(),
            "Content-Transfer-Encoding: base64".to_owned(),
            "Content-Disposition: attachment;".to_owned(),
            format!(" filename=\"{name}\""),
            String::new(),
        ];
        let encoded = STANDARD.encode(self.gzip);
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, tail) = rest.split_at(rest.len().min(LINE));
            lines.push(line.to_owned());
            rest = tail;
        }
        lines.push(format!("--{boundary}--"));
        lines.push(String::new());
        lines.join("\r\n").into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mail_has_the_fields_of_the_rfc() {
        let gzip = vec![7; 200];
        let mail = ReportMail {
            from: "tls@mta.example",
            to: "r@company-y.example",
            domain: "company-y.example",
            submitter: "mta.example",
            id: "42.a",
            span: ReportSpan { day: 1 },
            gzip: &gzip,
            now: 1_459_555_200,
        };
        let text = String::from_utf8(mail.compose()).unwrap();
        let (header, body) = text.split_once("\r\n\r\n").unwrap();
        for line in [
            "TLS-Report-Domain: company-y.example",
            "TLS-Report-Submitter: mta.example",
            "Date: Sat, 02 Apr 2016 00:00:00 +0000",
            "Message-ID: <42.a@mta.example>",
            "Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n boundary=\"=_tlsrpt_42.a\"",
        ] {
            assert!(header.contains(line), "{line} is missing in\n{header}");
        }
        assert!(body.contains("filename=\"mta.example!company-y.example!86400!172799!42.a.json.gz\""));
        assert!(text.lines().all(|line| line.len() <= 78), "long lines");
        let encoded = body.rsplit_once("\r\n\r\n").unwrap().1;
        let encoded: String = encoded.lines().take_while(|line| !line.starts_with("--")).collect();
        assert_eq!(STANDARD.decode(encoded).unwrap(), gzip);
        let unfolded = header.replace("\r\n ", " ");
        assert!(unfolded.contains(&format!("Subject: {}", mail.subject())));
    }
}
