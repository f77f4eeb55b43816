//! The first steps of a tenant that has sent nothing yet.

use axum::http::{HeaderMap, header};

/// A host name longer than this is none (RFC 1035 section 2.3.4), with a port.
const MAX_HOST: usize = 260;

/// How to send the first message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FirstSteps {
    /// A domain of the tenant that may send.
    pub(super) domain: Option<String>,
    /// A command for a shell.
    pub(super) curl: String,
    /// The host for SMTP, without a port.
    pub(super) smtp_host: String,
    /// `relevo dev`: the ports and the password are known.
    pub(super) is_dev: bool,
}

impl FirstSteps {
    pub(super) fn new(fields: &HeaderMap, domain: Option<String>, is_dev: bool) -> Self {
        let host = host(fields);
        let smtp_host = name_of(&host).to_owned();
        let is_near = is_dev || ["localhost", "127.0.0.1", "[::1]"].contains(&smtp_host.as_str());
        let scheme = if is_near { "http" } else { "https" };
        let from = domain.as_deref().unwrap_or("your-domain.example");
        let key = if is_dev { "rv_dev" } else { "$KEY" };
        let curl = format!(
            "curl {scheme}://{host}/emails \\\n  -H \"Authorization: Bearer {key}\" \\\n  \
             -H \"Content-Type: application/json\" \\\n  -d '{{\"from\": \"hello@{from}\", \"to\": \
             \"you@example.com\", \"subject\": \"Hello\", \"text\": \"It works.\"}}'"
        );
        Self { domain, curl, smtp_host, is_dev }
    }
}

/// The host that the browser asked, if it can be one: it is pasted into a shell.
fn host(fields: &HeaderMap) -> String {
    let host = fields.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b);
    let is_host = !host.is_empty() && host.len() <= MAX_HOST && host.bytes().all(is_plain);
    if is_host { host.to_owned() } else { "relay.example".to_owned() }
}

fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        // Not within an IPv6 address.
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(host: &str) -> FirstSteps {
        let mut fields = HeaderMap::new();
        fields.insert(header::HOST, host.parse().expect("a value"));
        FirstSteps::new(&fields, Some("shop.example".into()), false)
    }

    #[test]
    fn the_command_has_the_host_of_the_browser() {
        let there = steps("relay.shop.example:8443");
        assert!(there.curl.starts_with("curl https://relay.shop.example:8443/emails"), "{}", there.curl);
        assert!(there.curl.contains("hello@shop.example"));
        assert_eq!(there.smtp_host, "relay.shop.example");
        assert_eq!(steps("[::1]:8025").smtp_host, "[::1]");
        assert!(steps("localhost:8025").curl.starts_with("curl http://localhost:8025/"));
        let hostile = steps("x;rm -rf $HOME");
        assert!(hostile.curl.starts_with("curl https://relay.example/"), "{}", hostile.curl);
    }
}
