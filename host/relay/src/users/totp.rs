//! Time-based codes (RFC 6238: HMAC-SHA-1, 6 digits, 30 seconds) and recovery codes.

use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, Mac as _};
use relevo_mailkit::hex;
use relevo_store::UserSettings;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::token::random;

/// Seconds of a step.
const STEP: i64 = 30;
/// Octets of a secret, as RFC 4226 section 4 recommends.
const SECRET: usize = 20;
/// Recovery codes that are made.
const RECOVERY_CODES: usize = 10;
/// Octets of a recovery code: 80 bits are not guessed, even from their hash.
const RECOVERY: usize = 10;

/// The secret of an authenticator, which is shown once.
#[derive(Clone, PartialEq, Eq)]
pub struct TotpSecret {
    /// In base32, to be typed.
    pub secret: String,
    /// `otpauth://totp/...`, to be shown as a QR code.
    pub uri: String,
}

impl std::fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TotpSecret").finish_non_exhaustive()
    }
}

impl TotpSecret {
    /// Makes a secret for the user of this address. `issuer` names the relay in the authenticator.
    pub(super) fn new(issuer: &str, email: &str) -> std::io::Result<Self> {
        let secret = BASE32_NOPAD.encode(&random::<SECRET>()?);
        let encode = |text: &str| -> String {
            let mut encoded = String::new();
            for octet in text.bytes() {
                match octet {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                        encoded.push(char::from(octet));
                    }
                    _ => encoded.push_str(&format!("%{octet:02X}")),
                }
            }
            encoded
        };
        let (issuer, email) = (encode(issuer), encode(email));
        let uri = format!(
            "otpauth://totp/{issuer}:{email}?secret={secret}&issuer={issuer}&algorithm=SHA1&digits=6&period=30"
        );
        Ok(Self { secret, uri })
    }
}

/// The code of a step (RFC 4226 section 5.3).
fn code(secret: &[u8], step: i64) -> Option<String> {
    let mut mac = <Hmac<Sha1>>::new_from_slice(secret).ok()?;
    mac.update(&step.to_be_bytes());
    let digest = mac.finalize().into_bytes();
    let offset = usize::from(digest[19] & 0x0f);
    let part = digest.get(offset..offset + 4)?.try_into().ok()?;
    Some(format!("{:06}", (u32::from_be_bytes(part) & 0x7fff_ffff) % 1_000_000))
}

/// The step of a code: this one, the one before or the one behind, and later than `last`. None: it is
/// wrong, or was used. `now` in milliseconds since 1970.
pub(super) fn step_of(secret: &str, given: &str, now: i64, last: i64) -> Option<i64> {
    let secret = BASE32_NOPAD.decode(secret.as_bytes()).ok()?;
    let given: String = given.chars().filter(|c| !c.is_whitespace()).take(7).collect();
    let this = now.div_euclid(1_000).div_euclid(STEP);
    let mut found = None;
    for step in [this - 1, this, this + 1] {
        let expected = code(&secret, step)?;
        let equal = bool::from(expected.as_bytes().ct_eq(given.as_bytes()));
        if equal && step > last {
            found = Some(step);
        }
    }
    found
}

/// Makes recovery codes: those to show, and what is stored of them.
pub(super) fn recovery_codes() -> std::io::Result<(Vec<String>, Vec<String>)> {
    let mut shown = Vec::with_capacity(RECOVERY_CODES);
    for _ in 0..RECOVERY_CODES {
        let letters = BASE32_NOPAD.encode(&random::<RECOVERY>()?).to_ascii_lowercase();
        let groups: Vec<&str> = (0..4).filter_map(|n| letters.get(4 * n..4 * n + 4)).collect();
        shown.push(groups.join("-"));
    }
    let stored = shown.iter().map(|code| recovery_hash(code)).collect();
    Ok((shown, stored))
}

fn recovery_hash(code: &str) -> String {
    let plain: String = code.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    hex::encode(&Sha256::digest(plain.to_ascii_lowercase().as_bytes()))
}

/// Checks the second factor and notes that it is used: a step, or a recovery code. The caller stores the
/// settings. Returns false if the code is wrong.
pub(super) fn use_code(settings: &mut UserSettings, given: &str, now: i64) -> bool {
    let Some(secret) = &settings.totp else { return false };
    if let Some(step) = step_of(secret, given, now, settings.totp_step) {
        settings.totp_step = step;
        return true;
    }
    let hash = recovery_hash(given);
    let before = settings.recovery.len();
    settings.recovery.retain(|stored| !bool::from(stored.as_bytes().ct_eq(hash.as_bytes())));
    settings.recovery.len() < before
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The code of a base32 secret at a time.
    pub(in crate::users) fn code_at(secret: &str, now: i64) -> String {
        let secret = BASE32_NOPAD.decode(secret.as_bytes()).expect("base32");
        code(&secret, now / 1_000 / STEP).expect("a code")
    }

    /// RFC 6238 appendix B: the last six of its eight digits.
    #[test]
    fn codes_are_those_of_the_standard() {
        for (seconds, expected) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code(b"12345678901234567890", seconds / STEP).as_deref(), Some(expected), "{seconds}");
        }
    }

    #[test]
    fn a_code_counts_once_and_a_step_around() {
        let secret = BASE32_NOPAD.encode(b"12345678901234567890");
        let at = |seconds: i64, last| step_of(&secret, "287082", seconds * 1_000, last);
        // The code is that of step 1: seconds 30 to 59.
        for (seconds, is_good) in [(-1, false), (0, true), (30, true), (59, true), (89, true), (90, false)] {
            assert_eq!(at(seconds, 0), is_good.then_some(1), "{seconds}");
        }
        assert_eq!(at(59, 1), None, "it was used");
        assert_eq!(step_of(&secret, " 287 082 ", 59_000, 0), Some(1));
        for wrong in ["", "28708", "2870821", "287083", "２８７０８２"] {
            assert_eq!(step_of(&secret, wrong, 59_000, 0), None, "{wrong}");
        }
        assert_eq!(step_of("not base32", "287082", 59_000, 0), None);
    }

    #[test]
    fn a_recovery_code_counts_once() {
        let (shown, recovery) = recovery_codes().expect("randomness");
        let totp = Some(BASE32_NOPAD.encode(b"12345678901234567890"));
        let mut settings = UserSettings { totp, recovery, ..UserSettings::default() };
        assert_eq!((shown.len(), shown[0].len()), (10, 19));
        assert!(use_code(&mut settings, &shown[3].to_uppercase(), 0));
        assert!(!use_code(&mut settings, &shown[3], 0) && !use_code(&mut settings, "", 0));
        assert!(use_code(&mut settings, &shown[4].replace('-', ""), 0));
        assert_eq!(settings.recovery.len(), 8);
        settings.totp = None;
        assert!(!use_code(&mut settings, &shown[5], 0), "without an authenticator there are none");
    }

    #[test]
    fn the_uri_names_the_relay_and_the_user() {
        let made = TotpSecret::new("mta1.example.com", "ann+a@example.com").expect("randomness");
        assert_eq!(made.secret.len(), 32);
        assert!(made.uri.starts_with("otpauth://totp/mta1.example.com:ann%2Ba%40example.com?secret="));
        assert!(!format!("{made:?}").contains(&made.secret));
    }
}
