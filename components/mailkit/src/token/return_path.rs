//! Return paths: an envelope sender for each message and recipient (VERP), authenticated by
//! HMAC-SHA256.
//!
//! The address is `bounce+TOKEN@return.example.com`. A token is base32 in lower case (RFC 4648
//! section 6, without padding) of 35 octets:
//!
//! | octets | content |
//! | --- | --- |
//! | 1 | version, 1 |
//! | 2 | key: the start of the SHA-256 of its id |
//! | 16 | message |
//! | 3 | recipient, big endian |
//! | 13 | the start of the HMAC-SHA256 |
//!
//! The return domain is under the MAC, too. Mailers change the case of local parts, so case does
//! not matter. The local part has 63 octets (RFC 5321 section 4.5.3.1.1 allows 64). There is no
//! nonce: every attempt has the same address.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::{MESSAGE, TokenKey, TokenKeys, key_tag};

/// The start of every local part.
pub const PREFIX: &str = "bounce+";

const VERSION: u8 = 1;
const KEY: usize = 2;
const RECIPIENT: usize = 3;
const MAC: usize = 13;
const SIGNED: usize = 1 + KEY + MESSAGE + RECIPIENT;
const TOKEN: usize = SIGNED + MAC;
/// Characters of a token.
const CHARACTERS: usize = TOKEN * 8 / 5;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The message and recipient that a return path stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReturnClaims {
    /// The item's id.
    pub message: [u8; MESSAGE],
    /// Index of the recipient in the item.
    pub recipient: u32,
}

impl TokenKeys {
    /// The return path at `domain` (lower case A-labels). None without a key, and for a recipient
    /// beyond 2^24.
    #[must_use]
    pub fn mint_return_path(&self, domain: &str, claims: &ReturnClaims) -> Option<String> {
        let key = self.0.first()?;
        let [0, recipient @ ..] = claims.recipient.to_be_bytes() else { return None };
        let mut token = Vec::with_capacity(TOKEN);
        token.push(VERSION);
        token.extend_from_slice(&key_tag(&key.id)[..KEY]);
        token.extend_from_slice(&claims.message);
        token.extend_from_slice(&recipient);
        let mac = mac(key, domain, &token)?.finalize().into_bytes();
        token.extend_from_slice(&mac[..MAC]);
        Some(format!("{PREFIX}{}@{domain}", encode(&token)))
    }

    /// The claims of the return path `local_part` at `domain`, if one of these keys minted it.
    /// Constant time in what is secret.
    #[must_use]
    pub fn verify_return_path(&self, domain: &str, local_part: &str) -> Option<ReturnClaims> {
        let octets = decode(token_of(local_part)?)?;
        let (signed, tag) = octets.split_at(SIGNED);
        if signed[0] != VERSION {
            return None;
        }
        let named = &signed[1..=KEY];
        self.0
            .iter()
            .filter(|key| key_tag(&key.id)[..KEY] == *named)
            .filter_map(|key| mac(key, domain, signed))
            .find_map(|mac| mac.verify_truncated_left(tag).ok())?;
        let (message, recipient) = signed[1 + KEY..].split_at(MESSAGE);
        Some(ReturnClaims {
            message: message.try_into().ok()?,
            recipient: recipient.iter().fold(0, |n, octet| n << 8 | u32::from(*octet)),
        })
    }

    /// The CFBL-Feedback-ID of a recipient (RFC 9477): the token of its return path at `domain`.
    #[must_use]
    pub fn mint_feedback_id(&self, domain: &str, claims: &ReturnClaims) -> Option<String> {
        let address = self.mint_return_path(domain, claims)?;
        let (local_part, _) = address.rsplit_once('@')?;
        token_of(local_part).map(str::to_owned)
    }

    /// The claims of a CFBL-Feedback-ID, if one of these keys minted it for one of `domains`.
    #[must_use]
    pub fn verify_feedback_id(&self, domains: &[String], id: &str) -> Option<ReturnClaims> {
        let local_part = format!("{PREFIX}{id}");
        domains.iter().find_map(|domain| self.verify_return_path(domain, &local_part))
    }

    /// As [`Self::verify_return_path`], for a whole address at one of `domains`. Returns the
    /// domain, too.
    #[must_use]
    pub fn verify_return_address<'d>(
        &self,
        domains: &'d [String],
        address: &str,
    ) -> Option<(&'d str, ReturnClaims)> {
        let (local_part, domain) = address.rsplit_once('@')?;
        let domain = domains.iter().find(|known| known.eq_ignore_ascii_case(domain))?;
        Some((domain, self.verify_return_path(domain, local_part)?))
    }
}

/// The token of a local part that has the shape of a return path; its MAC was not looked at.
fn token_of(local_part: &str) -> Option<&str> {
    let (prefix, token) = local_part.split_at_checked(PREFIX.len())?;
    (prefix.eq_ignore_ascii_case(PREFIX) && token.len() == CHARACTERS).then_some(token)
}

/// The domain is preceded by its length: no two inputs read the same.
fn mac(key: &TokenKey, domain: &str, signed: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.secret).ok()?;
    mac.update(b"relevo return path\0");
    mac.update(&(domain.len() as u64).to_be_bytes());
    mac.update(domain.as_bytes());
    mac.update(signed);
    Some(mac)
}

/// Five octets become eight characters. A token is seven such groups: nothing is left over.
fn encode(octets: &[u8]) -> String {
    let mut text = String::with_capacity(CHARACTERS);
    for group in octets.chunks(5) {
        let bits = group.iter().fold(0_u64, |bits, octet| bits << 8 | u64::from(*octet));
        for at in (0..8).rev() {
            let digit = usize::try_from(bits >> (at * 5) & 31).unwrap_or(0);
            text.push(char::from(ALPHABET[digit]));
        }
    }
    text
}

fn decode(token: &str) -> Option<[u8; TOKEN]> {
    let mut octets = [0; TOKEN];
    for (group, five) in token.as_bytes().chunks(8).zip(octets.chunks_mut(5)) {
        let mut bits = 0_u64;
        for character in group {
            let digit = ALPHABET.iter().position(|known| *known == character.to_ascii_lowercase())?;
            bits = bits << 5 | u64::try_from(digit).ok()?;
        }
        five.copy_from_slice(&bits.to_be_bytes()[3..]);
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(ids: &[&str]) -> TokenKeys {
        let key = |id: &&str| TokenKey { id: (*id).to_owned(), secret: id.repeat(40).into_bytes() };
        TokenKeys(ids.iter().map(key).collect())
    }

    const CLAIMS: ReturnClaims = ReturnClaims { message: [7; MESSAGE], recipient: 3 };
    const DOMAIN: &str = "return.example.com";

    fn local_part(address: &str) -> &str {
        address.split('@').next().unwrap()
    }

    #[test]
    fn an_address_is_that_of_its_domain_and_key() {
        let address = keys(&["k1"]).mint_return_path(DOMAIN, &CLAIMS).unwrap();
        let local = local_part(&address);
        assert_eq!(local.len(), 63);
        assert_eq!(keys(&["k2", "k1"]).verify_return_path(DOMAIN, local), Some(CLAIMS), "an old key");
        assert_eq!(keys(&["k1"]).verify_return_path(DOMAIN, &local.to_uppercase()), Some(CLAIMS));
        assert_eq!(keys(&["k2"]).verify_return_path(DOMAIN, local), None);
        assert_eq!(keys(&["k1"]).verify_return_path("return.example.org", local), None);
        let domains = ["return.example.org".to_owned(), DOMAIN.to_owned()];
        let found = keys(&["k1"]).verify_return_address(&domains, &address.to_uppercase());
        assert_eq!(found, Some((DOMAIN, CLAIMS)));
    }

    #[test]
    fn nothing_is_minted_without_a_key_or_for_too_many_recipients() {
        assert_eq!(keys(&[]).mint_return_path(DOMAIN, &CLAIMS), None);
        let many = ReturnClaims { recipient: 1 << 24, ..CLAIMS };
        assert_eq!(keys(&["k1"]).mint_return_path(DOMAIN, &many), None);
    }

    #[test]
    fn other_local_parts_are_no_return_paths() {
        for local in ["", "bounce", "bounce+", "bounce+abc", "bounce+é", "postmaster", "bounceé"] {
            assert_eq!(keys(&["k1"]).verify_return_path(DOMAIN, local), None, "{local}");
        }
    }

    proptest! {
        #[test]
        fn every_claim_comes_back(message: [u8; MESSAGE], recipient in 0_u32..1 << 24) {
            let claims = ReturnClaims { message, recipient };
            let address = keys(&["k1"]).mint_return_path(DOMAIN, &claims).unwrap();
            prop_assert_eq!(keys(&["k1"]).verify_return_path(DOMAIN, local_part(&address)), Some(claims));
        }

        #[test]
        fn one_other_character_and_it_is_not_genuine(at in 0_usize..CHARACTERS, other in "[a-z2-7]") {
            let address = keys(&["k1"]).mint_return_path(DOMAIN, &CLAIMS).unwrap();
            let mut local = local_part(&address).to_owned();
            let at = PREFIX.len() + at;
            prop_assume!(local[at..=at] != other);
            local.replace_range(at..=at, &other);
            prop_assert_eq!(keys(&["k1"]).verify_return_path(DOMAIN, &local), None);
        }

        #[test]
        fn anything_may_come(local in "\\PC{0,80}") {
            let _ = keys(&["k1"]).verify_return_path(DOMAIN, &local);
        }
    }
}
