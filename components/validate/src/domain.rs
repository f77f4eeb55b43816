//! The domains of authors.

use relevo_mailkit::address;

/// Lower case A-labels (RFC 5891), or an address literal as it stands. `None`: no host can have
/// this name.
pub(crate) fn to_ascii(domain: &[u8]) -> Option<String> {
    let domain = std::str::from_utf8(domain).ok()?;
    if domain.starts_with('[') {
        return Some(domain.to_ascii_lowercase());
    }
    address::to_ascii(domain).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains() {
        assert_eq!(to_ascii(b"Example.COM").as_deref(), Some("example.com"));
        assert_eq!(to_ascii("m\u{fc}nchen.Example".as_bytes()).as_deref(), Some("xn--mnchen-3ya.example"));
        assert_eq!(to_ascii(b"[192.0.2.1]").as_deref(), Some("[192.0.2.1]"));
        for bad in ["a..b", "-a.b", "a_b.c", "xn--0.b", "a!b"] {
            assert_eq!(to_ascii(bad.as_bytes()), None, "{bad}");
        }
    }
}
