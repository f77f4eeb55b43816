//! The domains of authors as lower-case A-labels.

use idna::AsciiDenyList;

/// RFC 1035 section 2.3.4, without the final dot.
const MAX_DOMAIN: usize = 253;
const MAX_LABEL: usize = 63;

/// Lower case A-labels (RFC 5891), or an address literal as it stands. `None`: no host can have this name.
pub(crate) fn to_ascii(domain: &[u8]) -> Option<String> {
    if domain.first() == Some(&b'[') {
        return String::from_utf8(domain.to_ascii_lowercase()).ok();
    }
    if !has_a_labels(domain) && domain.is_ascii() {
        let lower = String::from_utf8(domain.to_ascii_lowercase()).ok()?;
        return is_host_name(&lower).then_some(lower);
    }
    let ascii = idna::domain_to_ascii_cow(domain, AsciiDenyList::STD3).ok()?;
    is_host_name(&ascii).then(|| ascii.into_owned())
}

/// Whether a label claims to be an A-label and so has to be checked.
fn has_a_labels(domain: &[u8]) -> bool {
    domain.split(|&b| b == b'.').any(|l| l.get(..4).is_some_and(|p| p.eq_ignore_ascii_case(b"xn--")))
}

fn is_host_name(domain: &str) -> bool {
    domain.len() <= MAX_DOMAIN
        && domain.split('.').all(|label| {
            (1..=MAX_LABEL).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains() {
        assert_eq!(to_ascii(b"Example.COM").as_deref(), Some("example.com"));
        assert_eq!(to_ascii("m\u{fc}nchen.Example".as_bytes()).as_deref(), Some("xn--mnchen-3ya.example"));
        assert_eq!(to_ascii(b"XN--mnchen-3ya.example").as_deref(), Some("xn--mnchen-3ya.example"));
        assert_eq!(to_ascii(b"[192.0.2.1]").as_deref(), Some("[192.0.2.1]"));
        for bad in ["a..b", "-a.b", "a-.b", "a_b.c", "xn--0.b", "a!b", &"a".repeat(64), &"a.".repeat(127)] {
            assert_eq!(to_ascii(bad.as_bytes()), None, "{bad}");
        }
    }
}
