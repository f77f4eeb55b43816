//! The Received field (RFC 5321 section 4.4).

use std::net::IpAddr;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use relevo_mailkit::address;
use relevo_mailkit::envelope::Recipient;
use relevo_mailkit::id::ItemId;

use crate::Via;

/// Characters of a peer's name that are shown: a domain name has no more.
const MAX_NAME: usize = 255;

/// The Received field with its final CRLF, one clause a line; `at` in milliseconds since 1970.
#[must_use]
pub fn field(via: &Via, hostname: &str, id: ItemId, recipients: &[Recipient], at: i64) -> Vec<u8> {
    let mut field = String::from("Received:");
    if let Some(peer) = via.peer {
        let literal = literal(peer);
        let helo = via.helo.as_deref().and_then(extended_domain).unwrap_or_else(|| literal.clone());
        field.push_str(&format!(" from {helo} ({literal})\r\n\t"));
    } else {
        field.push(' ');
    }
    field.push_str(&format!("by {hostname} with {}", via.protocol.with()));
    if let Some(tls) = via.tls.as_deref().map(comment).filter(|t| !t.is_empty()) {
        field.push_str(&format!(" ({tls})"));
    }
    field.push_str(&format!("\r\n\tid {id}"));
    // With several recipients it would tell each of the others (RFC 5321 section 7.2).
    if let [only] = recipients
        && only.address.is_ascii()
    {
        field.push_str(&format!("\r\n\tfor <{}>", only.address));
    }
    field.push_str(&format!(";\r\n\t{}\r\n", date(at)));
    field.into_bytes()
}

/// The date in UTC (RFC 5322 section 3.3); `at` in milliseconds since 1970.
#[must_use]
pub fn date(at: i64) -> String {
    let at = Timestamp::from_millisecond(at).unwrap_or(Timestamp::UNIX_EPOCH);
    at.to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

fn literal(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(v4) => format!("[{v4}]"),
        IpAddr::V6(v6) => format!("[IPv6:{v6}]"),
    }
}

/// What a peer called itself, if it can stand in the field as it is. Many clients send a name
/// without a domain, or one with underscores.
fn extended_domain(helo: &str) -> Option<String> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_');
    let literal = |t: &str| {
        t.strip_prefix('[')
            .and_then(|t| t.strip_suffix(']'))
            .is_some_and(|inner| !inner.is_empty() && inner.bytes().all(|c| plain(c) || c == b':'))
    };
    if helo.is_empty() || helo.len() > MAX_NAME {
        None
    } else if helo.bytes().all(plain) || literal(helo) {
        Some(helo.to_owned())
    } else {
        address::to_ascii(helo).ok()
    }
}

/// Text that can stand in a comment without quoting.
fn comment(text: &str) -> String {
    let keep = |c: &char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '.' | '_' | '-' | '/' | ':');
    text.chars().filter(keep).take(100).collect()
}

#[cfg(test)]
mod tests {
    use relevo_mailkit::recheck;

    use super::*;
    use crate::Protocol;

    const AT: i64 = 1_795_325_621_500;

    fn via(protocol: Protocol) -> Via {
        Via {
            protocol,
            peer: Some("192.0.2.7".parse().expect("address")),
            helo: Some("client.example".into()),
            tls: None,
            auth_user: None,
        }
    }

    fn to(addresses: &[&str]) -> Vec<Recipient> {
        addresses.iter().map(|a| Recipient::new(*a, "b.example")).collect()
    }

    fn text(via: &Via, recipients: &[Recipient]) -> String {
        let field = field(via, "mta1.example", ItemId([0; 16]), recipients, AT);
        assert_eq!(recheck::header_fields(&field), Ok(()));
        String::from_utf8(field).expect("ASCII")
    }

    #[test]
    fn one_recipient_is_named() {
        let field = text(&via(Protocol::Esmtp { tls: true, auth: true }), &to(&["b@b.example"]));
        let want = "Received: from client.example ([192.0.2.7])\r\n\tby mta1.example with ESMTPSA\r\n\
                    \tid 00000000000000000000000000\r\n\tfor <b@b.example>;\r\n\
                    \tSun, 22 Nov 2026 05:33:41 +0000\r\n";
        assert_eq!(field, want);
    }

    #[test]
    fn several_recipients_are_not() {
        let field = text(&via(Protocol::Smtp), &to(&["b@b.example", "c@b.example"]));
        assert!(!field.contains("for <"), "{field}");
        assert!(field.contains(" with SMTP\r\n"), "{field}");
    }

    #[test]
    fn an_internationalised_recipient_would_make_the_header_utf8() {
        assert!(!text(&via(Protocol::Smtp), &to(&["ü@b.example"])).contains("for"));
    }

    #[test]
    fn every_protocol_has_its_name() {
        let esmtp = |tls, auth| Protocol::Esmtp { tls, auth }.with();
        assert_eq!(
            [
                esmtp(false, false),
                esmtp(true, false),
                esmtp(false, true),
                esmtp(true, true),
                Protocol::Http.with()
            ],
            ["ESMTP", "ESMTPS", "ESMTPA", "ESMTPSA", "HTTP"]
        );
    }

    #[test]
    fn without_a_peer_there_is_no_from() {
        let via = Via { protocol: Protocol::Http, peer: None, helo: None, tls: None, auth_user: None };
        assert!(text(&via, &[]).starts_with("Received: by mta1.example with HTTP\r\n\tid "));
    }

    #[test]
    fn hostile_names_do_not_get_through() {
        for helo in ["a (b", "x\r\nBcc: y", "", "a b", "[1.2.3.4) (", "\u{202e}"] {
            let via = Via { helo: Some(helo.into()), ..via(Protocol::Smtp) };
            let field = text(&via, &[]);
            assert!(field.starts_with("Received: from [192.0.2.7] ([192.0.2.7])\r\n"), "{field}");
        }
        let tls = Via { tls: Some("TLSv1.3 (x)\r\ny: z".into()), ..via(Protocol::Smtp) };
        assert!(text(&tls, &[]).contains("with SMTP (TLSv1.3 xy: z)\r\n"));
        let v6 = Via { peer: "2001:db8::1".parse().ok(), helo: Some("[IPv6:2001:db8::1]".into()), ..tls };
        assert!(text(&v6, &[]).contains("from [IPv6:2001:db8::1] ([IPv6:2001:db8::1])"));
    }
}
