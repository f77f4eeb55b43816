//! Which URLs are rewritten, and the table of them.

use relevo_mailkit::address;
use relevo_mailkit::model::{Note, TrackOptions};
use relevo_mailkit::unsubscribe::PLACEHOLDER_HOST;
use std::collections::HashMap;

/// The link table of one message, and what was left out of it.
#[derive(Default)]
pub(crate) struct Links {
    indexes: HashMap<String, u32>,
    destinations: Vec<String>,
    /// Links left alone because the table was full, and because they were too long.
    over: u32,
    long: u32,
}

impl Links {
    /// The index of a destination, which is added if it is new; `None` when a limit says no.
    pub(crate) fn index(&mut self, destination: &str, options: &TrackOptions) -> Option<u32> {
        if is_left_alone(destination, options) {
            return None;
        }
        if destination.len() > usize::try_from(options.max_link_length).unwrap_or(usize::MAX) {
            self.long += 1;
            return None;
        }
        if let Some(index) = self.indexes.get(destination) {
            return Some(*index);
        }
        let next = u32::try_from(self.destinations.len()).ok().filter(|next| *next < options.max_links);
        let Some(next) = next else {
            self.over += 1;
            return None;
        };
        self.indexes.insert(destination.to_owned(), next);
        self.destinations.push(destination.to_owned());
        Some(next)
    }

    /// The octets of the longest URL that can be minted for a link, or for the open pixel (`None`).
    pub(crate) fn minted_length(&self, link: Option<u32>, options: &TrackOptions) -> usize {
        let destination = link.and_then(|link| self.destinations.get(usize::try_from(link).ok()?));
        let length = destination.map_or(0, String::len).div_ceil(3).saturating_mul(4);
        length.saturating_add(usize::try_from(options.url_overhead).unwrap_or(usize::MAX))
    }

    /// The table, and notes of what was left out.
    pub(crate) fn finish(self, notes: &mut Vec<Note>) -> Vec<String> {
        for (name, count) in [("too-many-links", self.over), ("link-too-long", self.long)] {
            if count > 0 {
                notes.push(Note { name: name.to_owned(), detail: format!("{count} left alone") });
            }
        }
        self.destinations
    }
}

/// Marks of the template languages in use, left behind where nothing was filled in.
const PLACEHOLDERS: [&str; 8] = ["{{", "}}", "{%", "%%", "${", "*|", "|*", "<%"];

/// Whether this is an absolute http or https URL with a host, and nothing speaks against a redirect
/// to it.
///
/// Stricter than a browser: no control characters, no backslash before the path, the two slashes
/// are there, and the host is made of letters, digits, hyphens, dots and underscores, of characters
/// above ASCII (RFC 3987), or an address in brackets.
pub(crate) fn is_trackable(url: &str) -> bool {
    let Some(rest) = strip_scheme(url) else { return false };
    if url.chars().any(char::is_control) || PLACEHOLDERS.iter().any(|mark| url.contains(mark)) {
        return false;
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match host_port.strip_prefix('[') {
        Some(address) => match address.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => ("ipv6", port),
            _ => return false,
        },
        None => host_port.split_at(host_port.find(':').unwrap_or(host_port.len())),
    };
    !authority.contains(['\\', ' ']) && is_host(host) && is_port(port)
}

/// Whether a link leads to a domain that is left alone, or to one of its subdomains. The host of the
/// unsubscribe URL always is.
fn is_left_alone(url: &str, options: &TrackOptions) -> bool {
    let host = strip_scheme(url).map(host).unwrap_or_default();
    // A name that has no A-labels is compared as it is written.
    let ascii = (!host.is_ascii()).then(|| address::to_ascii(host).ok()).flatten();
    let host = ascii.unwrap_or_else(|| host.to_ascii_lowercase());
    let host = host.strip_suffix('.').unwrap_or(&host);
    let is_of = |domain: &str| {
        host.strip_suffix(domain).is_some_and(|labels| labels.is_empty() || labels.ends_with('.'))
    };
    is_of(PLACEHOLDER_HOST) || options.exclude_domains.iter().any(|domain| is_of(domain))
}

/// The host of a URL without its scheme; empty for an address in brackets.
fn host(rest: &str) -> &str {
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    host_port.split(':').next().unwrap_or_default()
}

/// Without `http://` or `https://`, in any case.
pub(crate) fn strip_scheme(url: &str) -> Option<&str> {
    ["http://", "https://"].iter().find_map(|scheme| {
        url.get(..scheme.len())
            .filter(|start| start.eq_ignore_ascii_case(scheme))
            .map(|_| &url[scheme.len()..])
    })
}

fn is_host(host: &str) -> bool {
    host.chars().any(char::is_alphanumeric)
        && !host.starts_with('.')
        && host.chars().all(|c| !c.is_ascii() || c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))
}

/// Empty, or a colon and a port.
fn is_port(port: &str) -> bool {
    match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => {
            digits.is_empty() || (digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_urls_with_a_host() {
        for url in [
            "http://example.com",
            "HTTPS://Example.COM/a?b=c#d",
            "https://example.com/a@b,c!d",
            "https://user@example.com:8443/",
            "https://example.com:/",
            "https://[2001:db8::1]:8080/",
            "https://b\u{fc}cher.example/\u{e9}",
            "https://example.com?x",
            "https://example.com/with space",
            "https://under_score.example/%41",
        ] {
            assert!(is_trackable(url), "{url}");
        }
    }

    #[test]
    fn everything_else() {
        for url in [
            "",
            "#top",
            "/a",
            "a.html",
            "//example.com/",
            "?q",
            "mailto:a@example.com",
            "tel:+1",
            "sms:+1",
            "cid:x",
            "data:text/html,x",
            "javascript:alert(1)",
            "ftp://example.com/",
            "http:/example.com",
            "http:example.com",
            "https://",
            "https:///a",
            "https://?q",
            "https://@/",
            "https://:80/",
            "https://exa mple.com/",
            "https://a\\b/",
            "https:\\\\example.com\\",
            "https://example.com/\u{0}",
            "https://example.com/a\nb",
            "https://example.com/\u{85}",
            "https://{{host}}/",
            "https://example.com/{{path}}",
            "https://example.com/*|UNSUB|*",
            "https://example.com/%%id%%",
            "https://example.com/${id}",
            "https://[::1",
            "https://[x]/",
            "https://example.com:x/",
            "https://example.com:99999/",
            "https://.example.com/",
            "https://<b>/",
            "https://-/",
        ] {
            assert!(!is_trackable(url), "{url}");
        }
    }
}
