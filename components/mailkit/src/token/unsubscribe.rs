//! Tokens that unsubscribe.
//!
//! They work for years, when neither queue nor event log know the message any more. So they say
//! everything themselves: whom, from what, and who sent it. A row in a store for each recipient of
//! each message would cost more than the mail. They are in the logs of proxies and in the history
//! of browsers, so nobody without the key may read an address in one: the content is sealed.
//!
//! A token is strict base64url without padding of
//!
//! | octets | what |
//! | --- | --- |
//! | 1 | version, 2 |
//! | 4 | which key: the start of the SHA-256 of its id |
//! | 16 | the start of the HMAC-SHA256 over the content, and the initialisation vector |
//! | 96 n | the content, sealed |
//!
//! The content is the message (16 octets), the recipient's index (4, big endian), topic, sender and
//! address, each after its length (1 octet), and zeros up to a multiple of 96 octets. So the length
//! of a token does not tell the length of an address, and nearly all have the same length.
//!
//! The content is sealed by a stream made of HMAC-SHA256 in counter mode, whose initialisation
//! vector is the MAC of the content (the construction of SIV, RFC 5297, with other primitives).
//! There is no nonce, so a copy comes out the same whenever it is made. Kind, tenant and host are
//! under the MAC as with other tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::{KEY, Kind, MAC, MESSAGE, RECIPIENT, Scope, TokenKey, TokenKeys, key_tag};

const VERSION: u8 = 2;
const HEAD: usize = 1 + KEY + MAC;
/// Content is padded to a multiple of this.
const BLOCK: usize = 96;
/// Octets of the content. With the URL it fits into one line of a header field.
const MAX_CONTENT: usize = 5 * BLOCK;
/// Characters of the longest token.
const MAX_TOKEN: usize = (HEAD + MAX_CONTENT).div_ceil(3) * 4;
/// Octets of one HMAC of the stream.
const STREAM: usize = 32;

/// Whom a token unsubscribes from what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Subscription<'a> {
    /// The recipient's address.
    pub address: &'a str,
    /// The topic of the message; empty: the stream.
    pub topic: &'a str,
    /// The sending domain, for the page. Left out where there is no room for it.
    pub sender: &'a str,
}

/// What a genuine unsubscribe token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsubscribeClaims {
    /// The item's id.
    pub message: [u8; MESSAGE],
    /// Index of the recipient in the item.
    pub recipient: u32,
    /// The recipient's address, as in the envelope.
    pub address: String,
    /// The topic of the message; empty: the stream.
    pub topic: String,
    /// The sending domain; empty where there was no room for it.
    pub sender: String,
}

/// Octets of the longest unsubscribe URL (`track.options.unsubscribe-length`).
#[must_use]
pub fn max_url_length(base_url: &str) -> u32 {
    u32::try_from(base_url.len() + "/u/".len() + MAX_TOKEN).unwrap_or(u32::MAX)
}

impl TokenKeys {
    /// An unsubscribe token. None without a key, and for an address and topic that are longer than
    /// they may be.
    #[must_use]
    pub fn mint_unsubscribe(
        &self,
        scope: &Scope<'_>,
        message: &[u8; MESSAGE],
        recipient: u32,
        subscription: &Subscription<'_>,
    ) -> Option<String> {
        let key = self.0.first()?;
        let mut content = content(message, recipient, subscription)
            .or_else(|| content(message, recipient, &Subscription { sender: "", ..*subscription }))?;
        let mac: [u8; MAC] = mac(key, scope, &content)?.finalize().into_bytes()[..MAC].try_into().ok()?;
        apply_stream(key, &mac, &mut content)?;
        let token = [&[VERSION], &key_tag(&key.id)[..], &mac, &content].concat();
        Some(URL_SAFE_NO_PAD.encode(token))
    }

    /// What `token` says, if it was minted by one of these keys as it is, for this tenant and host.
    #[must_use]
    pub fn verify_unsubscribe(&self, scope: &Scope<'_>, token: &str) -> Option<UnsubscribeClaims> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let octets = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (head, sealed) = octets.split_at_checked(HEAD)?;
        let (&version, named) = head.split_first()?;
        let (named, tag) = named.split_at_checked(KEY)?;
        if version != VERSION || sealed.is_empty() || sealed.len() % BLOCK != 0 {
            return None;
        }
        let tag: [u8; MAC] = tag.try_into().ok()?;
        self.0.iter().filter(|key| key_tag(&key.id) == *named).find_map(|key| {
            let mut content = sealed.to_vec();
            apply_stream(key, &tag, &mut content)?;
            mac(key, scope, &content)?.verify_truncated_left(&tag).ok()?;
            claims(&content)
        })
    }
}

/// The content, padded. None if it is too long.
fn content(message: &[u8; MESSAGE], recipient: u32, of: &Subscription<'_>) -> Option<Vec<u8>> {
    let mut content = [&message[..], &recipient.to_be_bytes()].concat();
    for text in [of.topic, of.sender, of.address] {
        content.push(u8::try_from(text.len()).ok()?);
        content.extend_from_slice(text.as_bytes());
    }
    content.resize(content.len().next_multiple_of(BLOCK), 0);
    (content.len() <= MAX_CONTENT).then_some(content)
}

fn claims(content: &[u8]) -> Option<UnsubscribeClaims> {
    let (message, rest) = content.split_at_checked(MESSAGE)?;
    let (recipient, rest) = rest.split_at_checked(RECIPIENT)?;
    let (topic, rest) = text(rest)?;
    let (sender, rest) = text(rest)?;
    let (address, _) = text(rest)?;
    Some(UnsubscribeClaims {
        message: message.try_into().ok()?,
        recipient: u32::from_be_bytes(recipient.try_into().ok()?),
        address,
        topic,
        sender,
    })
}

/// A text after its length, and what follows it.
fn text(octets: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = octets.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((String::from_utf8(text.to_vec()).ok()?, rest))
}

fn mac(key: &TokenKey, scope: &Scope<'_>, content: &[u8]) -> Option<Hmac<Sha256>> {
    super::mac(key, Kind::Unsubscribe, scope, content)
}

/// Seals, or opens what is sealed.
fn apply_stream(key: &TokenKey, initial: &[u8; MAC], content: &mut [u8]) -> Option<()> {
    for (block, counter) in content.chunks_mut(STREAM).zip(0_u32..) {
        // The label is none that the MAC begins with.
        let mut stream = Hmac::<Sha256>::new_from_slice(&key.secret).ok()?;
        stream.update(b"relevo unsubscribe stream\0");
        stream.update(initial);
        stream.update(&counter.to_be_bytes());
        let stream = stream.finalize().into_bytes();
        block.iter_mut().zip(stream).for_each(|(octet, pad)| *octet ^= pad);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ITEM: [u8; 16] = *b"0123456789abcdef";

    fn keys(id: &str) -> TokenKeys {
        TokenKeys(vec![TokenKey { id: id.to_owned(), secret: vec![7; 32] }])
    }

    fn scope() -> Scope<'static> {
        Scope { tenant: "acme", host: "t.example.com" }
    }

    const ANA: Subscription<'static> =
        Subscription { address: "Ana@b.example", topic: "news", sender: "example.com" };

    fn minted(of: &Subscription<'_>) -> String {
        keys("2026a").mint_unsubscribe(&scope(), &ITEM, 7, of).unwrap()
    }

    #[test]
    fn a_token_says_what_was_minted() {
        let claims = keys("2026a").verify_unsubscribe(&scope(), &minted(&ANA)).unwrap();
        let expected = UnsubscribeClaims {
            message: ITEM,
            recipient: 7,
            address: "Ana@b.example".into(),
            topic: "news".into(),
            sender: "example.com".into(),
        };
        assert_eq!(claims, expected);
    }

    #[test]
    fn a_token_does_not_change_from_release_to_release() {
        assert_eq!(minted(&ANA), GOLDEN);
    }

    const GOLDEN: &str = "AvSeOz4jQVGJWYiF6JC-4WjSidrLcDZgT1d-h-zYUa1XzS9yeszqxBp_lMcV9wamyh5zr6FvVUdLHdDZNyoo2T16KNMJSaPqjzPd3QqOs-EpWFqA6ipff-jfiSnJqHLyQn47SgOvDrD44CW_DrIFduXzpju3";

    #[test]
    fn nobody_reads_an_address_in_a_token() {
        let octets = URL_SAFE_NO_PAD.decode(minted(&ANA)).unwrap();
        assert!(!octets.windows(5).any(|window| window.eq_ignore_ascii_case(b"ana@b")));
        assert!(!octets.windows(4).any(|window| window == &ITEM[..4] || window == b"news"));
        let other = minted(&Subscription { address: "A@b.example", ..ANA });
        assert_eq!(other.len(), minted(&ANA).len(), "the length of an address does not show");
    }

    #[test]
    fn tenant_host_and_key_are_under_the_mac() {
        let (keys, token) = (keys("2026a"), minted(&ANA));
        for (tenant, host) in
            [("evil", "t.example.com"), ("acme", "t.evil.example"), ("acmet", ".example.com")]
        {
            assert_eq!(keys.verify_unsubscribe(&Scope { tenant, host }, &token), None);
        }
        for kind in [Kind::Click, Kind::Open, Kind::Unsubscribe] {
            assert_eq!(keys.verify(kind, &scope(), &token), None);
        }
        let mut other = keys.clone();
        other.0[0].secret[0] ^= 1;
        assert_eq!(other.verify_unsubscribe(&scope(), &token), None);
        other.0.push(keys.0[0].clone());
        assert!(other.verify_unsubscribe(&scope(), &token).is_some(), "an older key verifies");
        assert_eq!(TokenKeys::default().mint_unsubscribe(&scope(), &ITEM, 0, &ANA), None);
    }

    #[test]
    fn every_altered_or_cut_token_is_refused() {
        let (keys, token) = (keys("2026a"), minted(&ANA));
        for at in 0..token.len() {
            for c in "AQgw09-_=.".chars() {
                let mut altered: Vec<char> = token.chars().collect();
                if std::mem::replace(&mut altered[at], c) != c {
                    let altered: String = altered.into_iter().collect();
                    assert_eq!(keys.verify_unsubscribe(&scope(), &altered), None, "{altered}");
                }
            }
            assert_eq!(keys.verify_unsubscribe(&scope(), &token[..at]), None);
        }
        assert_eq!(keys.verify_unsubscribe(&scope(), &format!("{token}=")), None);
        assert_eq!(keys.verify_unsubscribe(&scope(), &"A".repeat(MAX_TOKEN + 1)), None);
    }

    #[test]
    fn a_sender_without_room_is_left_out() {
        let (address, topic, sender) = ("a".repeat(250), "t".repeat(128), "s".repeat(250));
        let token = minted(&Subscription { address: &address, topic: &topic, sender: &sender });
        let claims = keys("2026a").verify_unsubscribe(&scope(), &token).unwrap();
        assert_eq!((claims.address, claims.topic, claims.sender), (address, topic, String::new()));
        let long = "a".repeat(300);
        let of = Subscription { address: &long, ..ANA };
        assert_eq!(keys("2026a").mint_unsubscribe(&scope(), &ITEM, 7, &of), None);
    }

    proptest! {
        #[test]
        fn tokens_come_back(
            address in "\\PC{0,80}", topic in "\\PC{0,30}", sender in "\\PC{0,60}",
            message: [u8; 16], recipient: u32,
        ) {
            let of = Subscription { address: &address, topic: &topic, sender: &sender };
            let Some(token) = keys("k").mint_unsubscribe(&scope(), &message, recipient, &of) else {
                prop_assert!(address.len() > 255 || address.len() + topic.len() > 400);
                return Ok(());
            };
            prop_assert!(token.len() <= MAX_TOKEN);
            let claims = keys("k").verify_unsubscribe(&scope(), &token).unwrap();
            prop_assert_eq!((claims.message, claims.recipient), (message, recipient));
            prop_assert_eq!((claims.address, claims.topic), (address, topic));
            prop_assert!(claims.sender == sender || claims.sender.is_empty());
        }

        #[test]
        fn noise_is_refused(token in "[A-Za-z0-9_-]{0,200}") {
            prop_assert_eq!(keys("2026a").verify_unsubscribe(&scope(), &token), None);
        }
    }
}
