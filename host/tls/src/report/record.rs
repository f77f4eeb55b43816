//! The TXT record at `_smtp._tls.DOMAIN` (RFC 8460 section 3).

/// Addresses that one domain may name.
const MAX_URIS: usize = 10;

/// Where a report goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportUri {
    /// By mail, to this address.
    Mail(String),
    /// By POST, to this `https` URL.
    Https(String),
}

/// Where the reports about a domain go; at least one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportTargets(pub Vec<ReportUri>);

impl ReportTargets {
    /// Reads the text of a TXT record. None: it is no valid record, or names no place that can be
    /// used.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split(';');
        if fields.next()?.trim_end_matches([' ', '\t']) != "v=TLSRPTv1" {
            return None;
        }
        let mut rua = None;
        for field in fields {
            let field = field.trim_matches([' ', '\t']);
            if field.is_empty() {
                continue;
            }
            let (name, value) = field.split_once('=')?;
            if name.trim_end_matches([' ', '\t']) == "rua" && rua.is_none() {
                rua = Some(value);
            }
        }
        let uris = rua?.split(',').map(|uri| uri.trim_matches([' ', '\t']));
        let targets: Vec<_> = uris.filter_map(read).take(MAX_URIS).collect();
        (!targets.is_empty()).then_some(Self(targets))
    }
}

/// The record among the TXT records of a name. Several are none.
#[must_use]
pub fn find_targets(texts: &[String]) -> Option<ReportTargets> {
    let mut records = texts.iter().filter(|text| {
        text.strip_prefix("v=TLSRPTv1")
            .is_some_and(|rest| rest.trim_start_matches([' ', '\t']).starts_with(';'))
    });
    match (records.next(), records.next()) {
        (Some(text), None) => ReportTargets::parse(text),
        _ => None,
    }
}

/// A place that can be used. Others are left out.
fn read(uri: &str) -> Option<ReportUri> {
    let is_plain = uri.bytes().all(|octet| octet.is_ascii_graphic());
    let (scheme, rest) = uri.split_once(':').filter(|_| is_plain)?;
    if scheme.eq_ignore_ascii_case("https") && rest.starts_with("//") && rest.len() > 2 {
        return Some(ReportUri::Https(uri.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("mailto") {
        return None;
    }
    let address = decoded(rest.split('?').next().unwrap_or_default())?;
    let (local, domain) = address.rsplit_once('@')?;
    let is_local = |octet: u8| octet.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&octet);
    let is_domain = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_');
    let is_address = (1..=64).contains(&local.len())
        && (1..=253).contains(&domain.len())
        && local.bytes().all(is_local)
        && domain.bytes().all(is_domain);
    is_address.then_some(ReportUri::Mail(address))
}

/// Percent-encoding undone (RFC 6068 section 2).
fn decoded(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet != b'%' {
            octets.push(octet);
            continue;
        }
        let digit = |octet: Option<u8>| octet.and_then(|octet| char::from(octet).to_digit(16));
        let value = digit(rest.next())? * 16 + digit(rest.next())?;
        octets.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(octets).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mail(address: &str) -> ReportUri {
        ReportUri::Mail(address.to_owned())
    }

    #[test]
    fn places_are_read_and_others_left_out() {
        let targets = |text: &str| ReportTargets::parse(text).map(|targets| targets.0);
        assert_eq!(targets("v=TLSRPTv1;rua=mailto:r@example.com").unwrap(), [mail("r@example.com")]);
        let both = "v=TLSRPTv1; rua=mailto:tls%2Ba@example.com?x=y , https://r.example/v1 ,ftp://x; ext=1;";
        let https = ReportUri::Https("https://r.example/v1".to_owned());
        assert_eq!(targets(both).unwrap(), [mail("tls+a@example.com"), https]);
        for bad in [
            "",
            "v=TLSRPTv1",
            "v=TLSRPTv1;",
            "v=TLSRPTv2;rua=mailto:r@example.com",
            "v=TLSRPTv1;rua",
            "v=TLSRPTv1;rua=",
            "v=TLSRPTv1;rua=http://r.example/",
            "v=TLSRPTv1;rua=mailto:nobody",
            "v=TLSRPTv1;rua=mailto:a%0d%0ab@example.com",
            "v=TLSRPTv1;rua=mailto:a%zz@example.com",
            "v=TLSRPTv1;rua=mailto:<r@example.com>",
        ] {
            assert_eq!(targets(bad), None, "{bad}");
        }
        let text = "v=TLSRPTv1;rua=mailto:r@example.com".to_owned();
        assert!(find_targets(&[text.clone(), "x".to_owned()]).is_some());
        assert!(find_targets(&[text.clone(), text]).is_none());
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser_or_a_header(text in "(v=TLSRPTv1;rua=mailto:)?.{0,80}") {
            for uri in ReportTargets::parse(&text).map(|targets| targets.0).unwrap_or_default() {
                let (ReportUri::Mail(place) | ReportUri::Https(place)) = uri;
                prop_assert!(place.bytes().all(|octet| octet.is_ascii_graphic()));
            }
        }
    }
}
