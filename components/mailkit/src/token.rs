//! Tracking tokens: stateless, authenticated by HMAC-SHA256 (decision 9 of the design).
//!
//! [`unsubscribe`] has the tokens that unsubscribe, [`return_path`] those of envelope senders. A click or open token is strict base64url without padding of
//!
//! | octets | what |
//! | --- | --- |
//! | 1 | version, 1 |
//! | 4 | which key: the start of the SHA-256 of its id |
//! | 16 | message |
//! | 4 | recipient, big endian |
//! | n | destination in UTF-8; none for open |
//! | 16 | the start of the HMAC-SHA256 |
//!
//! Under the MAC are also the kind, the tenant and the tracking host, which the verifier knows from
//! the path and the authority of the request: a token is worth nothing on another tenant's host or
//! under another path. There is no address and no nonce in it, so a copy comes out the same
//! whenever it is made.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::splice::TrackingUrls;

pub mod return_path;
pub mod unsubscribe;

const VERSION: u8 = 1;
const KEY: usize = 4;
const MESSAGE: usize = 16;
const RECIPIENT: usize = 4;
const MAC: usize = 16;
const HEAD: usize = 1 + KEY + MESSAGE + RECIPIENT;

/// Characters of a token that is looked at: destinations are far shorter.
const MAX_TOKEN: usize = 16 * 1024;

/// A key that mints and verifies tokens.
#[derive(Clone)]
pub struct TokenKey {
    /// As configured; 1 to 16 letters, digits, hyphens.
    pub id: String,
    /// At least 32 octets.
    pub secret: Vec<u8>,
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The first mints, all verify.
#[derive(Debug, Clone, Default)]
pub struct TokenKeys(pub Vec<TokenKey>);

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `/c/`: go to the destination.
    Click,
    /// `/o/`: the pixel.
    Open,
    /// `/u/`: RFC 8058 and the page.
    Unsubscribe,
}

impl Kind {
    /// The letter in the path.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Click => 'c',
            Self::Open => 'o',
            Self::Unsubscribe => 'u',
        }
    }

    /// The kind of this path segment.
    #[must_use]
    pub fn from_letter(letter: &str) -> Option<Self> {
        match letter {
            "c" => Some(Self::Click),
            "o" => Some(Self::Open),
            "u" => Some(Self::Unsubscribe),
            _ => None,
        }
    }
}

/// Where a token is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope<'a> {
    /// Its tenant's id.
    pub tenant: &'a str,
    /// The tracking host: the authority of the URL, in lower case, with the port when it is in the
    /// URL.
    pub host: &'a str,
}

/// What a genuine token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The item's id.
    pub message: [u8; MESSAGE],
    /// Index of the recipient in the item.
    pub recipient: u32,
    /// Where a click goes, as it was minted; empty for the other kinds.
    pub destination: String,
}

/// The authority of a tracking URL such as `https://t.example.com`: what [`Scope::host`] takes.
#[must_use]
pub fn host_of(base_url: &str) -> String {
    let rest = base_url.split_once("://").map_or(base_url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default().to_ascii_lowercase()
}

/// The hosts that the authority of a request may mean, the most exact first: as it is, without its
/// port, and without the dot of the DNS root. All name the same machine, and tokens are minted for
/// the one that is configured.
#[must_use]
pub fn hosts_meant(authority: &str) -> [String; 3] {
    let authority = authority.to_ascii_lowercase();
    let name = authority.rsplit_once(':').map_or(authority.as_str(), |(name, _)| name).to_owned();
    let bare = name.strip_suffix('.').unwrap_or(&name).to_owned();
    [authority, name, bare]
}

/// `base_url/kind/token`.
#[must_use]
pub fn url(base_url: &str, kind: Kind, token: &str) -> String {
    format!("{}/{}/{token}", base_url.trim_end_matches('/'), kind.letter())
}

/// Such that a URL for a destination of `n` octets has at most
/// `url_overhead(base_url) + 4 * ceil(n / 3)` octets (`track.options.url-overhead`).
#[must_use]
pub fn url_overhead(base_url: &str) -> u32 {
    let fixed = (HEAD + MAC).div_ceil(3) * 4;
    u32::try_from(base_url.len() + "/c/".len() + fixed).unwrap_or(u32::MAX)
}

impl TokenKeys {
    /// A click token. None without a key.
    #[must_use]
    pub fn mint_click(
        &self,
        scope: &Scope<'_>,
        message: &[u8; MESSAGE],
        recipient: u32,
        to: &str,
    ) -> Option<String> {
        self.mint(Kind::Click, scope, message, recipient, to)
    }

    /// An open token. None without a key.
    #[must_use]
    pub fn mint_open(&self, scope: &Scope<'_>, message: &[u8; MESSAGE], recipient: u32) -> Option<String> {
        self.mint(Kind::Open, scope, message, recipient, "")
    }

    fn mint(
        &self,
        kind: Kind,
        scope: &Scope<'_>,
        message: &[u8; MESSAGE],
        recipient: u32,
        to: &str,
    ) -> Option<String> {
        let key = self.0.first()?;
        let mut token = Vec::with_capacity(HEAD + to.len() + MAC);
        token.push(VERSION);
        token.extend_from_slice(&key_tag(&key.id));
        token.extend_from_slice(message);
        token.extend_from_slice(&recipient.to_be_bytes());
        token.extend_from_slice(to.as_bytes());
        let mac = mac(key, kind, scope, &token)?.finalize().into_bytes();
        token.extend_from_slice(&mac[..MAC]);
        Some(URL_SAFE_NO_PAD.encode(token))
    }

    /// What a click or open `token` says, if it was minted by one of these keys as it is, for this kind, tenant and
    /// host. Constant time in what is secret.
    #[must_use]
    pub fn verify(&self, kind: Kind, scope: &Scope<'_>, token: &str) -> Option<Claims> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        // This engine refuses padding and non-zero trailing bits: one token, one spelling.
        let octets = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (signed, tag) = octets.split_at_checked(octets.len().checked_sub(MAC)?)?;
        let (head, destination) = signed.split_at_checked(HEAD)?;
        let expects_destination = kind == Kind::Click;
        if kind == Kind::Unsubscribe
            || head[0] != VERSION
            || (!expects_destination && !destination.is_empty())
        {
            return None;
        }
        let named = &head[1..=KEY];
        self.0
            .iter()
            .filter(|key| key_tag(&key.id) == *named)
            .filter_map(|key| mac(key, kind, scope, signed))
            .find_map(|mac| mac.verify_truncated_left(tag).ok())?;
        let (message, recipient) = head[1 + KEY..].split_at(MESSAGE);
        Some(Claims {
            message: message.try_into().ok()?,
            recipient: u32::from_be_bytes(recipient.try_into().ok()?),
            destination: String::from_utf8(destination.to_vec()).ok()?,
        })
    }
}

fn key_tag(id: &str) -> [u8; KEY] {
    let digest = Sha256::digest(id.as_bytes());
    [digest[0], digest[1], digest[2], digest[3]]
}

/// Every part is fixed in length or preceded by its length: no two inputs read the same.
fn mac(key: &TokenKey, kind: Kind, scope: &Scope<'_>, token: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.secret).ok()?;
    mac.update(b"relevo tracking token\0");
    mac.update(kind.letter().encode_utf8(&mut [0; 4]).as_bytes());
    for part in [scope.tenant, scope.host] {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part.as_bytes());
    }
    mac.update(token);
    Some(mac)
}

/// The URLs of one recipient's copy.
#[derive(Debug, Clone, Copy)]
pub struct CopyUrls<'a> {
    /// The first mints. Without any the URLs are empty: ask for tracking only with a key.
    pub keys: &'a TokenKeys,
    /// Whose.
    pub tenant: &'a str,
    /// Scheme and authority, without a final slash.
    pub base_url: &'a str,
    /// The item.
    pub message: [u8; MESSAGE],
    /// Index of the recipient in the item.
    pub recipient: u32,
    /// The link table.
    pub links: &'a [String],
    /// What an unsubscribe URL says about the recipient.
    pub unsubscribe: unsubscribe::Subscription<'a>,
}

impl CopyUrls<'_> {
    fn url(&self, kind: Kind, destination: &str) -> String {
        let host = host_of(self.base_url);
        let scope = Scope { tenant: self.tenant, host: &host };
        self.keys
            .mint(kind, &scope, &self.message, self.recipient, destination)
            .map_or_else(String::new, |token| url(self.base_url, kind, &token))
    }
}

impl TrackingUrls for CopyUrls<'_> {
    fn click(&self, link: u32) -> String {
        // An index that is not in the table was refused by the recheck of the edits.
        let link = usize::try_from(link).ok().and_then(|l| self.links.get(l));
        link.map_or_else(String::new, |to| self.url(Kind::Click, to))
    }

    fn open(&self) -> String {
        self.url(Kind::Open, "")
    }

    fn unsubscribe(&self) -> String {
        let host = host_of(self.base_url);
        let scope = Scope { tenant: self.tenant, host: &host };
        self.keys
            .mint_unsubscribe(&scope, &self.message, self.recipient, &self.unsubscribe)
            .map_or_else(String::new, |token| url(self.base_url, Kind::Unsubscribe, &token))
    }
}

#[cfg(test)]
mod tests;
