//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), the server's side. No randomness: the
//! nonce comes from outside.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::replies::{self, Fixed};

mod stored;

pub use stored::ScramVerifierError;

/// Octets of a user name, as for the other mechanisms.
const MAX_USERNAME: usize = 255;
/// Characters of the nonce of a client.
const MAX_NONCE: usize = 512;
/// Octets of a decoy's salt.
const DECOY_SALT: usize = 16;

/// What is stored of a password (RFC 5802 section 3). Who has it can pretend to be the server, and
/// after one login that it saw also the user.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    /// Random octets of this user.
    pub salt: Vec<u8>,
    /// RFC 7677 section 4: at least 4096.
    pub iterations: u32,
    /// StoredKey.
    pub stored_key: [u8; 32],
    /// ServerKey.
    pub server_key: [u8; 32],
}

impl std::fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScramVerifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl ScramVerifier {
    /// The verifier of `password`. Takes the time of `iterations` HMACs. `None`: the password holds
    /// characters that SASLprep (RFC 4013) forbids.
    #[must_use]
    pub fn derive(password: &str, salt: Vec<u8>, iterations: u32) -> Option<Self> {
        let prepared = stringprep::saslprep(password).ok()?;
        let salted = hi(prepared.as_bytes(), &salt, iterations);
        let stored_key = Sha256::digest(hmac(&salted, &[b"Client Key"])).into();
        Some(Self { salt, iterations, stored_key, server_key: hmac(&salted, &[b"Server Key"]) })
    }

    /// A verifier that no password fits, for a user who is unknown. It is the same each time, so
    /// that unknown users cannot be told from known ones (RFC 5802 section 9). `iterations` is that
    /// of the known users.
    #[must_use]
    pub fn decoy(secret: &[u8], username: &str, iterations: u32) -> Self {
        let derived = |label: &[u8]| hmac(secret, &[label, username.as_bytes()]);
        Self {
            salt: derived(b"salt\0")[..DECOY_SALT].to_vec(),
            iterations,
            stored_key: derived(b"stored key\0"),
            server_key: derived(b"server key\0"),
        }
    }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // An HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Hi() (RFC 5802 section 2.2): PBKDF2 of one block.
fn hi(password: &[u8], salt: &[u8], iterations: u32) -> [u8; 32] {
    let mut block = hmac(password, &[salt, &1_u32.to_be_bytes()]);
    let mut out = block;
    for _ in 1..iterations {
        block = hmac(password, &[&block]);
        for (sum, octet) in out.iter_mut().zip(block) {
            *sum ^= octet;
        }
    }
    out
}

/// What the connection offers for channel binding.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChannelBinding {
    /// SCRAM-SHA-256-PLUS is announced.
    pub(super) is_offered: bool,
    /// `tls-exporter` (RFC 9266).
    pub(super) exporter: Option<[u8; 32]>,
}

/// client-first-message, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientFirst {
    /// Decoded.
    pub(super) username: String,
    /// gs2-header.
    gs2: String,
    bare: String,
    nonce: String,
    /// cbind-data.
    binding: Vec<u8>,
}

impl ClientFirst {
    /// Reads the message of the mechanism with (`plus`) or without channel binding.
    pub(super) fn parse(message: &str, plus: bool, channel: ChannelBinding) -> Result<Self, Fixed> {
        let bad = replies::BAD_AUTH_RESPONSE;
        let (flag, rest) = message.split_once(',').ok_or(bad)?;
        let (authzid, bare) = rest.split_once(',').ok_or(bad)?;
        let binding = binding(flag, plus, channel)?;
        let mut fields = bare.split(',');
        // A first field `m=` is an extension that must be understood; none is.
        let username = fields.next().and_then(|field| field.strip_prefix("n=")).ok_or(bad)?;
        let username = saslname(username).ok_or(bad)?;
        let nonce = fields.next().and_then(|field| field.strip_prefix("r=")).ok_or(bad)?;
        let printable = nonce.bytes().all(|b| b.is_ascii_graphic());
        if !(1..=MAX_NONCE).contains(&nonce.len()) || !printable {
            return Err(bad);
        }
        // Nobody may act for somebody else.
        if !authzid.is_empty() {
            let identity = authzid.strip_prefix("a=").and_then(saslname).ok_or(bad)?;
            if identity != username {
                return Err(replies::BAD_CREDENTIALS);
            }
        }
        let gs2 = message[..message.len() - bare.len()].to_owned();
        Ok(Self { username, gs2, nonce: nonce.to_owned(), bare: bare.to_owned(), binding })
    }

    /// server-first-message, and what is expected then.
    pub(super) fn challenge(self, verifier: ScramVerifier, server_nonce: &str) -> (String, ScramExchange) {
        let nonce = format!("{}{server_nonce}", self.nonce);
        let salt = STANDARD.encode(&verifier.salt);
        let server_first = format!("r={nonce},s={salt},i={}", verifier.iterations);
        let exchange = ScramExchange { first: self, server_first: server_first.clone(), nonce, verifier };
        (server_first, exchange)
    }
}

/// gs2-cbind-flag (RFC 5802 section 6): the data that the client binds to.
fn binding(flag: &str, plus: bool, channel: ChannelBinding) -> Result<Vec<u8>, Fixed> {
    match (flag, plus) {
        ("n", false) => Ok(Vec::new()),
        // The client can bind and believes that we cannot: somebody between us has hidden it.
        ("y", false) if channel.is_offered => Err(replies::CHANNEL_BINDING),
        ("y", false) => Ok(Vec::new()),
        ("p=tls-exporter", true) => {
            channel.exporter.map(|data| data.to_vec()).ok_or(replies::CHANNEL_BINDING)
        }
        (_, _) if flag.starts_with("p=") => Err(replies::CHANNEL_BINDING),
        _ => Err(replies::BAD_AUTH_RESPONSE),
    }
}

/// saslname: `=2C` is a comma and `=3D` an equals sign.
fn saslname(text: &str) -> Option<String> {
    let mut words = text.split('=');
    let mut name = words.next()?.to_owned();
    for word in words {
        let (escaped, rest) = match word {
            _ if word.starts_with("2C") => (',', &word[2..]),
            _ if word.starts_with("3D") => ('=', &word[2..]),
            _ => return None,
        };
        name.push(escaped);
        name.push_str(rest);
    }
    if name.len() > MAX_USERNAME {
        return None;
    }
    // RFC 5802 section 5.1: what cannot be prepared, or is nothing then, ends the exchange.
    let prepared = stringprep::saslprep(&name).ok()?;
    (!prepared.is_empty() && prepared.len() <= MAX_USERNAME).then(|| prepared.into_owned())
}

/// The exchange after server-first-message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScramExchange {
    first: ClientFirst,
    server_first: String,
    nonce: String,
    verifier: ScramVerifier,
}

impl ScramExchange {
    pub(super) fn username(&self) -> &str {
        &self.first.username
    }

    /// Checks client-final-message: server-final-message, or `None` where the proof is wrong.
    pub(super) fn verify(&self, message: &str) -> Result<Option<String>, Fixed> {
        let bad = replies::BAD_AUTH_RESPONSE;
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or(bad)?;
        let proof: [u8; 32] =
            STANDARD.decode(proof).ok().and_then(|proof| proof.try_into().ok()).ok_or(bad)?;
        let mut fields = without_proof.split(',');
        let binding = fields.next().and_then(|field| field.strip_prefix("c=")).ok_or(bad)?;
        let binding = STANDARD.decode(binding).map_err(|_| bad)?;
        let nonce = fields.next().and_then(|field| field.strip_prefix("r=")).ok_or(bad)?;
        let expected = [self.first.gs2.as_bytes(), &self.first.binding].concat();
        let is_bound = binding.ct_eq(&expected) & nonce.as_bytes().ct_eq(self.nonce.as_bytes());
        let auth_message: [&[u8]; 5] =
            [self.first.bare.as_bytes(), b",", self.server_first.as_bytes(), b",", without_proof.as_bytes()];
        let mut client_key = hmac(&self.verifier.stored_key, &auth_message);
        for (octet, proof) in client_key.iter_mut().zip(proof) {
            *octet ^= proof;
        }
        let stored_key: [u8; 32] = Sha256::digest(client_key).into();
        let is_proven = is_bound & stored_key.ct_eq(&self.verifier.stored_key);
        if !bool::from(is_proven) {
            return Ok(None);
        }
        let signature = hmac(&self.verifier.server_key, &auth_message);
        Ok(Some(format!("v={}", STANDARD.encode(signature))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAR: ChannelBinding = ChannelBinding { is_offered: false, exporter: None };
    const BOUND: ChannelBinding = ChannelBinding { is_offered: true, exporter: Some([7; 32]) };

    fn pencil() -> ScramVerifier {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        ScramVerifier::derive("pencil", salt, 4096).unwrap()
    }

    /// A client that knows `password`; `binding` is what it puts into `c=`.
    fn final_message(server_first: &str, first_bare: &str, password: &str, binding: &[u8]) -> String {
        let fields: Vec<&str> = server_first.split(',').collect();
        let salt = STANDARD.decode(&fields[1][2..]).unwrap();
        let salted = hi(password.as_bytes(), &salt, fields[2][2..].parse().unwrap());
        let client_key = hmac(&salted, &[b"Client Key"]);
        let stored_key = Sha256::digest(client_key);
        let without = format!("c={},{}", STANDARD.encode(binding), fields[0]);
        let message = format!("{first_bare},{server_first},{without}");
        let signature = hmac(&stored_key, &[message.as_bytes()]);
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        format!("{without},p={}", STANDARD.encode(proof))
    }

    /// The example of RFC 7677 section 3.
    #[test]
    fn the_example() {
        let first = ClientFirst::parse("n,,n=user,r=rOprNGfwEbeRWgbNEkqO", false, CLEAR).unwrap();
        assert_eq!(first.username, "user");
        let (message, exchange) = first.challenge(pencil(), "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
        assert_eq!(
            message,
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let signature = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(exchange.verify(last), Ok(Some(signature.to_owned())));
        assert_eq!(exchange.verify(&last.replace("p=d", "p=e")), Ok(None), "another proof");
        assert_eq!(exchange.verify(&last.replace("k0,", "k1,")), Ok(None), "another nonce");
        assert_eq!(exchange.verify(&last.replace("biws", "eSws")), Ok(None), "another header");
        for bad in ["", "c=biws", "c=biws,r=x", "c=biws,r=x,p=AAAA", "c=!,r=x,p=AAAA", "r=x,c=biws,p=AAAA"] {
            assert_eq!(exchange.verify(bad), Err(replies::BAD_AUTH_RESPONSE), "{bad}");
        }
    }

    #[test]
    fn bound_to_the_channel() {
        let message = "p=tls-exporter,,n=user,r=abc";
        let first = ClientFirst::parse(message, true, BOUND).unwrap();
        let (server_first, exchange) = first.challenge(pencil(), "xyz");
        let bound = [b"p=tls-exporter,,".as_slice(), &[7; 32]].concat();
        let last = final_message(&server_first, "n=user,r=abc", "pencil", &bound);
        assert!(exchange.verify(&last).unwrap().is_some());
        let elsewhere = [b"p=tls-exporter,,".as_slice(), &[8; 32]].concat();
        let last = final_message(&server_first, "n=user,r=abc", "pencil", &elsewhere);
        assert_eq!(exchange.verify(&last), Ok(None), "another connection");
        let last = final_message(&server_first, "n=user,r=abc", "pencil", b"n,,");
        assert_eq!(exchange.verify(&last), Ok(None), "binding left out");
    }

    #[test]
    fn flags_of_channel_binding() {
        let parse = |flag: &str, plus, channel| {
            ClientFirst::parse(&format!("{flag},,n=u,r=x"), plus, channel).map(|_| ())
        };
        assert_eq!(parse("n", false, BOUND), Ok(()));
        assert_eq!(parse("y", false, CLEAR), Ok(()));
        assert_eq!(parse("y", false, BOUND), Err(replies::CHANNEL_BINDING), "a downgrade");
        assert_eq!(parse("p=tls-exporter", true, BOUND), Ok(()));
        assert_eq!(parse("p=tls-exporter", true, CLEAR), Err(replies::CHANNEL_BINDING));
        assert_eq!(parse("p=tls-unique", true, BOUND), Err(replies::CHANNEL_BINDING));
        assert_eq!(parse("p=tls-exporter", false, BOUND), Err(replies::CHANNEL_BINDING));
        assert_eq!(parse("n", true, BOUND), Err(replies::BAD_AUTH_RESPONSE));
        assert_eq!(parse("z", false, BOUND), Err(replies::BAD_AUTH_RESPONSE));
    }

    #[test]
    fn first_messages() {
        let parse = |message: &str| ClientFirst::parse(message, false, CLEAR);
        assert_eq!(parse("n,,n=a=2Cb=3Dc,r=x").unwrap().username, "a,b=c");
        assert_eq!(parse("n,a=u,n=u,r=x,ext=1").unwrap().username, "u");
        assert_eq!(parse("n,a=v,n=u,r=x"), Err(replies::BAD_CREDENTIALS));
        let long = format!("n,,n=u,r={}", "x".repeat(MAX_NONCE + 1));
        for bad in [
            "",
            "n",
            "n,,",
            "n,,n=u",
            "n,,n=,r=x",
            "n,,n=u,r=",
            "n,,n=a=b,r=x",
            "n,,m=1,n=u,r=x",
            "n,u,n=u,r=x",
            "n,,r=x,n=u",
            "n,,n=u,r=x y",
            "n,,n=u\0,r=x",
            long.as_str(),
        ] {
            assert_eq!(parse(bad), Err(replies::BAD_AUTH_RESPONSE), "{bad}");
        }
    }

    #[test]
    fn unknown_users_look_like_known_ones() {
        let decoy = ScramVerifier::decoy(b"secret", "nobody", 4096);
        assert_eq!(decoy, ScramVerifier::decoy(b"secret", "nobody", 4096), "each time the same");
        assert_ne!(decoy.salt, ScramVerifier::decoy(b"secret", "somebody", 4096).salt);
        assert_ne!(decoy.salt, ScramVerifier::decoy(b"other", "nobody", 4096).salt);
        assert_eq!((decoy.salt.len(), decoy.iterations), (16, 4096));
        let first = ClientFirst::parse("n,,n=nobody,r=abc", false, CLEAR).unwrap();
        let (server_first, exchange) = first.challenge(decoy, "xyz");
        let last = final_message(&server_first, "n=nobody,r=abc", "pencil", b"n,,");
        assert_eq!(exchange.verify(&last), Ok(None));
    }

    #[test]
    fn passwords_are_prepared() {
        let derive = |password| ScramVerifier::derive(password, vec![1; 16], 1);
        assert_eq!(derive("I\u{ad}X"), derive("IX"), "RFC 4013 section 3");
        assert_eq!(derive("\u{7}"), None);
    }

    /// RFC 4013 section 3, and RFC 5802 section 5.1.
    #[test]
    fn user_names_are_prepared() {
        for (sent, name) in [
            ("user", Some("user")),
            ("I\u{ad}X", Some("IX")),
            ("\u{aa}", Some("a")),
            ("\u{2168}", Some("IX")),
            ("u\u{308}=2C", Some("\u{fc},")),
            ("\u{7}", None),
            ("\u{ad}", None),
            ("\u{627}1", None),
        ] {
            assert_eq!(saslname(sent).as_deref(), name, "{sent:?}");
        }
    }
}
