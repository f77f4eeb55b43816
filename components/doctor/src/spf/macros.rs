//! Macros (RFC 7208 section 7).

use std::fmt::Write;
use std::net::IpAddr;

/// What macros stand for.
#[derive(Debug, Clone, Copy)]
pub(super) struct MacroValues<'a> {
    pub(super) sender: &'a str,
    pub(super) domain: &'a str,
    pub(super) helo: &'a str,
    pub(super) address: IpAddr,
}

/// Octets of an expanded name, before it is cut to what DNS takes.
const MAX_EXPANDED: usize = 4096;

/// Checks the syntax.
pub(super) fn check(text: &str) -> Result<(), String> {
    let values = MacroValues { sender: "a@b.c", domain: "b.c", helo: "b.c", address: IpAddr::from([0; 4]) };
    expand(text, &values).map(drop)
}

/// A name with its macros replaced, cut on the left to 253 octets (section 7.3).
pub(super) fn expand(text: &str, values: &MacroValues<'_>) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        literal(&rest[..at], &mut expanded)?;
        rest = &rest[at + 1..];
        let one = rest.chars().next();
        rest = match one {
            Some('%') => {
                expanded.push('%');
                &rest[1..]
            }
            Some('_') => {
                expanded.push(' ');
                &rest[1..]
            }
            Some('-') => {
                expanded.push_str("%20");
                &rest[1..]
            }
            Some('{') => {
                let (body, behind) = rest[1..].split_once('}').ok_or("has a macro without an end")?;
                expanded.push_str(&replaced(body, values)?);
                behind
            }
            _ => return Err("has a `%` that is no macro".to_owned()),
        };
        if expanded.len() > MAX_EXPANDED {
            return Err("has macros that become too long".to_owned());
        }
    }
    literal(rest, &mut expanded)?;
    let mut name = expanded.trim_end_matches('.');
    while name.len() > 253 {
        name = name.split_once('.').map_or("", |(_, rest)| rest);
    }
    Ok(name.to_owned())
}

fn literal(text: &str, expanded: &mut String) -> Result<(), String> {
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("has a character that is not visible ASCII".to_owned());
    }
    expanded.push_str(text);
    Ok(())
}

/// `letter [digits] ["r"] *delimiter`
fn replaced(body: &str, values: &MacroValues<'_>) -> Result<String, String> {
    let letter = body.chars().next().ok_or("has an empty macro")?.to_ascii_lowercase();
    let value = match letter {
        's' => values.sender.to_owned(),
        'l' => values.sender.split_once('@').map_or("postmaster", |(local, _)| local).to_owned(),
        'o' => values.sender.rsplit_once('@').map_or(values.sender, |(_, domain)| domain).to_owned(),
        'd' => values.domain.to_owned(),
        'i' => dotted(values.address),
        'p' => "unknown".to_owned(),
        'v' => if values.address.is_ipv4() { "in-addr" } else { "ip6" }.to_owned(),
        'h' => values.helo.to_owned(),
        _ => return Err("has a macro that nobody knows".to_owned()),
    };
    let rest = &body[1..];
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = rest.split_at(digits);
    let keep = match number {
        "" => usize::MAX,
        number => number.parse().ok().filter(|n| *n > 0).ok_or("has a macro with a wrong number")?,
    };
    let (is_reversed, delimiters) = match rest.strip_prefix(['r', 'R']) {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if !delimiters.bytes().all(|b| b".-+,/_=".contains(&b)) {
        return Err("has a macro with a wrong delimiter".to_owned());
    }
    if keep == usize::MAX && !is_reversed && delimiters.is_empty() {
        return Ok(value);
    }
    let is_delimiter = |c: char| if delimiters.is_empty() { c == '.' } else { delimiters.contains(c) };
    let mut parts: Vec<&str> = value.split(is_delimiter).collect();
    if is_reversed {
        parts.reverse();
    }
    let skipped = parts.len().saturating_sub(keep);
    Ok(parts[skipped..].join("."))
}

/// The address as macros have it: IPv6 by its nibbles.
fn dotted(address: IpAddr) -> String {
    let IpAddr::V6(v6) = address else { return address.to_string() };
    let mut text = String::new();
    for octet in v6.octets() {
        let _ = write!(text, "{:x}.{:x}.", octet >> 4, octet & 15);
    }
    text.pop();
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 7.4.
    #[test]
    fn the_examples_of_the_rfc() {
        let mut values = MacroValues {
            sender: "strong-bad@email.example.com",
            domain: "email.example.com",
            helo: "mta.example",
            address: [192, 0, 2, 3].into(),
        };
        for (text, want) in [
            ("%{s}", "strong-bad@email.example.com"),
            ("%{o}", "email.example.com"),
            ("%{d4}", "email.example.com"),
            ("%{d3}", "email.example.com"),
            ("%{d2}", "example.com"),
            ("%{d1}", "com"),
            ("%{dr}", "com.example.email"),
            ("%{d2r}", "example.email"),
            ("%{l}", "strong-bad"),
            ("%{l-}", "strong.bad"),
            ("%{lr-}", "bad.strong"),
            ("%{l1r-}", "strong"),
            ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
            ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
            ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
        ] {
            assert_eq!(expand(text, &values).as_deref(), Ok(want), "{text}");
        }
        values.address = "2001:db8::cb01".parse().expect("an address");
        let want = "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com";
        assert_eq!(expand("%{ir}.%{v}._spf.%{d2}", &values).as_deref(), Ok(want));
    }

    #[test]
    fn a_long_name_loses_its_first_labels() {
        let values =
            MacroValues { sender: "a@b.c", domain: &"label.".repeat(60), helo: "", address: [0; 4].into() };
        let name = expand("%{d}end.test", &values).expect("expands");
        assert!(name.len() <= 253 && name.starts_with("label.") && name.ends_with("end.test"), "{name}");
        assert!(
            check("%{d0}").is_err() && check("%{d!}").is_err() && check("%{").is_err() && check("é").is_err()
        );
    }
}
