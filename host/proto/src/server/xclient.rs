//! XCLIENT, by which a trusted proxy says for whom it speaks. The reference is Postfix's
//! XCLIENT_README.

use std::net::IpAddr;

use super::config::AuthPolicy;
use super::params;
use super::replies::{self, Fixed};
use super::sasl::sasl_prepared;
use super::session::{Event, PollStep, Question, ServerSession, SessionState};
use super::types::SessionInfo;
use crate::Reply;

/// The attributes that are announced.
pub(super) const KEYWORD: &str = "XCLIENT NAME ADDR PORT PROTO HELO LOGIN";
/// Octets of a value, decoded.
const MAX_VALUE: usize = 255;

/// What XCLIENT says of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Said<T> {
    /// Nothing: what was known stays.
    #[default]
    Nothing,
    /// `[UNAVAILABLE]`: there is none.
    Unavailable,
    /// `[TEMPUNAVAIL]`: it could not be looked up just now.
    Temporarily,
    /// This.
    Value(T),
}

impl<T> Said<T> {
    /// The value, if there is one.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            _ => None,
        }
    }
}

/// The client for whom a proxy speaks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProxiedClient {
    /// NAME: by reverse lookup.
    pub name: Said<String>,
    /// ADDR.
    pub addr: Said<IpAddr>,
    /// PORT.
    pub port: Said<u16>,
    /// PROTO: ESMTP rather than SMTP.
    pub extended: Option<bool>,
    /// HELO: the argument of EHLO or HELO.
    pub helo: Said<String>,
    /// LOGIN: the user who has logged in at the proxy.
    pub login: Said<String>,
}

/// Reads the attributes: at least one, none twice.
pub(super) fn parse(text: &str) -> Result<ProxiedClient, Fixed> {
    let bad = replies::BAD_PARAMETER;
    let mut client = ProxiedClient::default();
    let mut seen: Vec<String> = Vec::new();
    for attribute in text.split(' ').filter(|word| !word.is_empty()) {
        let (name, value) = attribute.split_once('=').ok_or(bad)?;
        let name = name.to_ascii_uppercase();
        if seen.contains(&name) {
            return Err(bad);
        }
        take(&name, value, &mut client).ok_or(bad)?;
        seen.push(name);
    }
    if seen.is_empty() { Err(replies::SYNTAX) } else { Ok(client) }
}

fn take(name: &str, value: &str, client: &mut ProxiedClient) -> Option<()> {
    match name {
        "NAME" => client.name = said(value, text)?,
        "ADDR" => client.addr = said(value, address)?,
        "PORT" => client.port = said(value, |port| port.parse().ok())?,
        "HELO" => client.helo = said(value, helo)?,
        "LOGIN" => client.login = said(value, login)?,
        "PROTO" => client.extended = Some(extended(value)?),
        _ => return None,
    }
    Some(())
}

fn said<T>(value: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Said<T>> {
    if value.eq_ignore_ascii_case("[UNAVAILABLE]") {
        return Some(Said::Unavailable);
    }
    if value.eq_ignore_ascii_case("[TEMPUNAVAIL]") {
        return Some(Said::Temporarily);
    }
    Some(Said::Value(parse(&params::decoded(value)?)?))
}

fn text(value: &str) -> Option<String> {
    let fits = (1..=MAX_VALUE).contains(&value.len()) && !value.chars().any(char::is_control);
    fits.then(|| value.to_owned())
}

/// In the form in which AUTH compares names.
fn login(value: &str) -> Option<String> {
    text(&sasl_prepared(value))
}

/// What EHLO takes, too: it goes into a trace field.
fn helo(value: &str) -> Option<String> {
    let harmless = value.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b));
    text(value).filter(|_| harmless)
}

fn address(value: &str) -> Option<IpAddr> {
    let v6 = value.get(..5).filter(|prefix| prefix.eq_ignore_ascii_case("IPV6:"));
    match v6 {
        Some(_) => value[5..].parse().ok().map(IpAddr::V6),
        None => value.parse().ok(),
    }
}

fn extended(value: &str) -> Option<bool> {
    match value {
        _ if value.eq_ignore_ascii_case("ESMTP") => Some(true),
        _ if value.eq_ignore_ascii_case("SMTP") => Some(false),
        _ => None,
    }
}

/// What the product makes of the user whom a proxy names by LOGIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxiedLogin {
    /// The user is logged in, where one was named.
    Known,
    /// Nobody here has that name: nobody is logged in, and the client may do so itself.
    Unknown,
}

impl ServerSession {
    pub(super) fn xclient(&mut self, client: ProxiedClient) -> PollStep {
        if self.transaction.is_some() {
            return self.protocol_error(replies::NOT_DURING_MAIL);
        }
        self.state = SessionState::Deciding(Question::Proxied(Box::new(client.clone())));
        PollStep::Event(Event::Proxied(client))
    }

    /// The answer to [`Event::Proxied`]: the session begins anew with the greeting, or with the
    /// product's refusal of the connection. The certificate and the channel binding of the proxy are
    /// not those of its client, and are forgotten. XCLIENT is offered no more, since some proxies pass
    /// on what their client says from now on. Nor is AUTH in clear: it was for the peer's own address.
    pub fn restart(&mut self, decision: Result<ProxiedLogin, Reply>) {
        let SessionState::Deciding(Question::Proxied(client)) = &mut self.state else { return };
        let client = std::mem::take(&mut **client);
        let is_known = decision == Ok(ProxiedLogin::Known);
        self.exporter = None;
        self.config.offers.xclient = false;
        if self.config.auth == AuthPolicy::Always {
            self.config.auth = AuthPolicy::AfterTls;
        }
        self.info = SessionInfo {
            tls: self.info.tls.take(),
            helo: client.helo.value().unwrap_or_default(),
            extended: client.extended.unwrap_or_default(),
            username: client.login.value().filter(|_| is_known),
            client_certificate: None,
        };
        (self.errors, self.idle_commands, self.refusals, self.mails) = (0, 0, 0, 0);
        self.greet(decision.map(|_| ()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes() {
        let client =
            parse(" NAME=a.test ADDR=192.0.2.1 PORT=25 PROTO=ESMTP HELO=b.test LOGIN=u+40x").unwrap();
        assert_eq!(client.name, Said::Value("a.test".to_owned()));
        assert_eq!(client.addr, Said::Value("192.0.2.1".parse().unwrap()));
        assert_eq!((client.port, client.extended), (Said::Value(25), Some(true)));
        assert_eq!(client.helo.value().as_deref(), Some("b.test"));
        assert_eq!(client.login.value().as_deref(), Some("u@x"));
        let client = parse("name=[unavailable] addr=IPV6:2001:db8::1 login=[TEMPUNAVAIL]").unwrap();
        assert_eq!((client.name, client.login), (Said::Unavailable, Said::Temporarily));
        assert_eq!(client.addr.value(), "2001:db8::1".parse().ok());
        assert_eq!(client.port, Said::Nothing);
    }

    #[test]
    fn mistakes() {
        assert_eq!(parse(" "), Err(replies::SYNTAX));
        for text in [
            "NAME",
            "NAME=",
            "NAME=a NAME=b",
            "ADDR=a.test",
            "ADDR=IPV6:192.0.2.1",
            "PORT=65536",
            "PORT=-1",
            "PROTO=LMTP",
            "HELO=a+20b",
            "LOGIN=a+0Ab",
            "DESTADDR=192.0.2.1",
        ] {
            assert_eq!(parse(text), Err(replies::BAD_PARAMETER), "{text}");
        }
    }
}
