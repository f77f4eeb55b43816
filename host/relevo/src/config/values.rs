//! What single values look like.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use relevo_relay::settings::Network;
use toml::de::DeValue;

pub(crate) fn string(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(s) => Ok(s.as_ref().to_owned()),
        _ => Err("must be a string in quotes".to_owned()),
    }
}

pub(crate) fn boolean(value: &DeValue<'_>) -> Result<bool, String> {
    match value {
        DeValue::Boolean(b) => Ok(*b),
        _ => Err("must be true or false".to_owned()),
    }
}

/// A positive whole number.
pub(crate) fn number(value: &DeValue<'_>) -> Result<u64, String> {
    const WRONG: &str = "must be a whole number above 0";
    let DeValue::Integer(i) = value else { return Err(WRONG.to_owned()) };
    match u64::from_str_radix(i.as_str(), i.radix()) {
        Ok(n) if n > 0 => Ok(n),
        _ => Err(WRONG.to_owned()),
    }
}

pub(crate) fn count(value: &DeValue<'_>) -> Result<usize, String> {
    usize::try_from(number(value)?).map_err(|_| "is too large".to_owned())
}

/// As [`count`], where 0 switches something off.
pub(crate) fn count_or_none(value: &DeValue<'_>) -> Result<usize, String> {
    const WRONG: &str = "must be a whole number, 0 or above";
    let DeValue::Integer(i) = value else { return Err(WRONG.to_owned()) };
    usize::from_str_radix(i.as_str(), i.radix()).map_err(|_| WRONG.to_owned())
}

pub(crate) fn port(value: &DeValue<'_>) -> Result<u16, String> {
    u16::try_from(number(value)?).map_err(|_| "must be a port, 1 to 65535".to_owned())
}

/// Octets: a number, or a string such as `50MB` or `1GiB`.
pub(crate) fn size(value: &DeValue<'_>) -> Result<u64, String> {
    const WRONG: &str = "must be a number of octets or a string such as \"512MiB\" or \"1GiB\"";
    let DeValue::String(s) = value else { return number(value).map_err(|_| WRONG.to_owned()) };
    let (digits, unit) = split_unit(s);
    let factor = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(WRONG.to_owned()),
    };
    digits.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(|| WRONG.to_owned())
}

/// `90s`, `5m`, `1h`, `5d`.
pub(crate) fn duration(value: &DeValue<'_>) -> Result<Duration, String> {
    const WRONG: &str = "must be a string such as \"30s\", \"5m\", \"4h\" or \"5d\"";
    let DeValue::String(s) = value else { return Err(WRONG.to_owned()) };
    let (digits, unit) = split_unit(s);
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(WRONG.to_owned()),
    };
    let n: u64 = digits.parse().map_err(|_| WRONG.to_owned())?;
    match n.checked_mul(seconds) {
        Some(n) if n > 0 && n <= 10 * 365 * 86_400 => Ok(Duration::from_secs(n)),
        _ => Err(WRONG.to_owned()),
    }
}

/// `50ms`, or as [`duration`].
pub(crate) fn short_duration(value: &DeValue<'_>) -> Result<Duration, String> {
    if let DeValue::String(s) = value
        && let Some(digits) = s.strip_suffix("ms")
    {
        return match digits.trim().parse::<u64>() {
            Ok(n) if (1..=3_600_000).contains(&n) => Ok(Duration::from_millis(n)),
            _ => Err("must be a string such as \"50ms\" or \"1s\"".to_owned()),
        };
    }
    duration(value).map_err(|_| "must be a string such as \"50ms\" or \"1s\"".to_owned())
}

fn split_unit(s: &str) -> (&str, &str) {
    let at = s.find(|c: char| !c.is_ascii_digit()).unwrap_or(s.len());
    (&s[..at], s[at..].trim())
}

pub(crate) fn socket_addr(value: &DeValue<'_>) -> Result<SocketAddr, String> {
    string(value)?
        .parse()
        .map_err(|_| "must be an address with a port, such as \"127.0.0.1:587\" or \"[::1]:587\"".to_owned())
}

/// As [`socket_addr`]; the port may be left out.
pub(crate) fn nameserver(value: &DeValue<'_>) -> Result<SocketAddr, String> {
    let s = string(value)?;
    let plain = s.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    plain
        .or_else(|_| s.parse())
        .map_err(|_| "must be an IP address, with a port when it is not 53".to_owned())
}

pub(crate) fn ip(value: &DeValue<'_>) -> Result<IpAddr, String> {
    string(value)?.parse().map_err(|_| "must be an IP address".to_owned())
}

/// CIDR; a plain address is a network of one.
pub(crate) fn network(value: &DeValue<'_>) -> Result<Network, String> {
    const WRONG: &str = "must be a network such as \"10.1.0.0/16\" or \"2001:db8::/32\"";
    let s = string(value)?;
    let (addr, prefix) = match s.split_once('/') {
        Some((addr, prefix)) => (addr, Some(prefix)),
        None => (s.as_str(), None),
    };
    let addr: IpAddr = addr.parse().map_err(|_| WRONG.to_owned())?;
    let bits = if addr.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        Some(p) => p.parse::<u8>().ok().filter(|p| *p <= bits).ok_or_else(|| WRONG.to_owned())?,
        None => bits,
    };
    Ok(Network { addr, prefix })
}

/// A host name or domain in lower case A-labels.
pub(crate) fn domain(value: &DeValue<'_>) -> Result<String, String> {
    let s = string(value)?;
    let name =
        relevo_mailkit::address::to_ascii(&s).ok().ok_or_else(|| format!("`{s}` is not a domain name"))?;
    if name.contains('.') {
        Ok(name)
    } else {
        Err(format!("`{s}` is not fully qualified, such as `mail.example.com`"))
    }
}

/// Lower case letters, digits, hyphens and underscores, 1 to 63.
pub(crate) fn identifier(value: &DeValue<'_>) -> Result<String, String> {
    let s = string(value)?;
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if (1..=63).contains(&s.len()) && s.bytes().all(fits) {
        Ok(s)
    } else {
        Err("must be 1 to 63 lower case letters, digits, hyphens and underscores".to_owned())
    }
}

/// A DKIM selector: labels joined by dots (RFC 6376 section 3.1).
pub(crate) fn selector(value: &DeValue<'_>) -> Result<String, String> {
    let s = string(value)?.to_ascii_lowercase();
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    if s.split('.').all(label) {
        Ok(s)
    } else {
        Err("must be a DKIM selector: letters, digits, hyphens, dots".to_owned())
    }
}

/// One of these words.
pub(crate) fn one_of<T: Copy>(
    words: &'static [(&'static str, T)],
) -> impl Fn(&DeValue<'_>) -> Result<T, String> {
    move |value| {
        let s = string(value).unwrap_or_default();
        words.iter().find(|(word, _)| *word == s).map(|(_, t)| *t).ok_or_else(|| {
            let all: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            format!("must be one of {}", all.join(", "))
        })
    }
}
