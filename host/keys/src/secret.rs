//! Secrets that are not signing keys: tracking keys and passwords.

use std::io::ErrorKind;
use std::path::Path;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use relevo_mailkit::hex;
use zeroize::Zeroizing;

use crate::api::KeyError;
use crate::file;

/// Octets of a secret (the output of SHA-256: a longer one adds nothing).
const MIN_SECRET: usize = 32;

/// A secret of at least 32 octets, written as hexadecimal digits, as base64 or as it is, and the
/// warning when its group can read it. White space around the first two is left out.
///
/// # Errors
/// [`KeyError::File`]: unreadable, open to others, or too short.
pub fn load_secret(path: &Path) -> Result<(Vec<u8>, Option<String>), KeyError> {
    let (content, warning) = file::read_secret_file(path)?;
    match decode(&content) {
        Some(secret) => Ok((secret, warning)),
        None => {
            let text = format!(
                "has less than {MIN_SECRET} octets of secret: openssl rand -hex {MIN_SECRET} > {}",
                path.display()
            );
            Err(file::problem(path, text))
        }
    }
}

/// Loads a secret that belongs to this directory. One of 32 random octets is made (0600, in
/// hexadecimal) if there never was one. A marker beside it, `NAME.made`, tells that there was: a
/// secret that is gone afterwards is an error, not a reason to make another one in silence.
///
/// # Errors
/// Those of [`load_secret`]; the secret is gone; a file cannot be made.
pub fn load_or_create_secret(path: &Path) -> Result<(Vec<u8>, Option<String>), KeyError> {
    let marker = path.with_extension("made");
    let is_missing =
        |path: &Path| std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound);
    let is_unmarked = is_missing(&marker);
    if is_missing(path) {
        if !is_unmarked {
            let text = format!(
                "is gone: restore it from a backup. Without it links in mail that was sent are refused; to have a new one made, \
                 remove {}",
                marker.display()
            );
            return Err(file::problem(path, text));
        }
        create_secret(path)?;
    }
    if is_unmarked {
        create(&marker, b"")?;
    }
    load_secret(path)
}

/// Reads a secret file, or makes one. For a secret that may be replaced when it is lost.
///
/// # Errors
/// As [`load_secret`], and when the file cannot be made.
pub fn load_or_renew_secret(path: &Path) -> Result<(Vec<u8>, Option<String>), KeyError> {
    if std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        create_secret(path)?;
    }
    load_secret(path)
}

fn create_secret(path: &Path) -> Result<(), KeyError> {
    let mut secret = Zeroizing::new([0; MIN_SECRET]);
    SystemRandom::new()
        .fill(&mut *secret)
        .map_err(|_| KeyError::Crypto("there is no randomness".to_owned()))?;
    let text = Zeroizing::new(hex::encode(&*secret) + "\n");
    create(path, text.as_bytes())
}

/// Makes a file, unless another process just did.
fn create(path: &Path, content: &[u8]) -> Result<(), KeyError> {
    match file::create(path, content) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(file::problem(path, format!("cannot be made: {error}")))
        }
        _ => Ok(()),
    }
}

/// A password: the first line of the file, and the warning when its group can read it.
///
/// # Errors
/// [`KeyError::File`]: unreadable, open to others, empty or not UTF-8.
pub fn load_password(path: &Path) -> Result<(String, Option<String>), KeyError> {
    let (content, warning) = file::read_secret_file(path)?;
    let text = std::str::from_utf8(&content).map_err(|_| file::problem(path, "is not UTF-8".to_owned()))?;
    let line = text.split('\n').next().unwrap_or_default();
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() || line.contains('\0') {
        return Err(file::problem(path, "has no password on its first line".to_owned()));
    }
    Ok((line.to_owned(), warning))
}

fn decode(content: &[u8]) -> Option<Vec<u8>> {
    let text = content.trim_ascii();
    let hex = std::str::from_utf8(text).ok().and_then(hex::decode).filter(|secret| !secret.is_empty());
    let secret = hex.or_else(|| STANDARD.decode(text).ok().filter(|s| s.len() >= MIN_SECRET));
    let secret = secret.unwrap_or_else(|| content.to_vec());
    (secret.len() >= MIN_SECRET).then_some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn secret_of(content: &[u8]) -> Result<Vec<u8>, KeyError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        file::create(&path, content).unwrap();
        load_secret(&path).map(|(s, _)| s)
    }

    #[test]
    fn hexadecimal_base64_and_raw_are_read() {
        let raw: Vec<u8> = (0..32).collect();
        let hex: String = raw.iter().map(|b| format!("{b:02X}")).collect();
        assert_eq!(secret_of(format!("{hex}\n").as_bytes()).unwrap(), raw);
        assert_eq!(secret_of(format!(" {}\r\n", STANDARD.encode(&raw)).as_bytes()).unwrap(), raw);
        assert_eq!(secret_of(&raw).unwrap(), raw);
        let phrase = b"thirty-two characters, or a little more";
        assert_eq!(secret_of(phrase).unwrap(), phrase);
    }

    #[test]
    fn short_secrets_are_refused_with_the_remedy() {
        for short in [&b""[..], b"short", &[b'a'; 62], b"AAAAAAAAAAAAAAAAAAAAAA=="] {
            assert!(secret_of(short).unwrap_err().to_string().contains("openssl rand"), "{short:?}");
        }
    }

    #[test]
    fn a_missing_secret_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tracking.key");
        let (made, warning) = load_or_create_secret(&path).unwrap();
        assert_eq!((made.len(), warning), (32, None));
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(load_or_create_secret(&path).unwrap().0, made);
        assert_eq!(load_secret(&path).unwrap().0, made);
        let (other, _) = load_or_create_secret(&dir.path().join("other.key")).unwrap();
        assert_ne!(other, made);
        assert!(load_or_create_secret(&dir.path().join("no/such/directory")).is_err());
    }

    #[test]
    fn a_lost_secret_is_not_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tracking.key");
        let (first, _) = load_or_create_secret(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let refusal = load_or_create_secret(&path).unwrap_err().to_string();
        assert!(refusal.contains("is gone") && refusal.contains("tracking.made"), "{refusal}");
        assert!(!path.exists());
        std::fs::remove_file(dir.path().join("tracking.made")).unwrap();
        assert_ne!(load_or_create_secret(&path).unwrap().0, first);
    }

    #[test]
    fn a_secret_that_may_be_replaced_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("scram.key");
        let (made, _) = load_or_renew_secret(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(load_or_renew_secret(&path).unwrap().0, made);
        std::fs::remove_file(&path).unwrap();
        assert_ne!(load_or_renew_secret(&path).unwrap().0, made);
    }

    /// A secret from elsewhere counts as one that there was.
    #[test]
    fn a_secret_that_was_there_is_marked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tracking.key");
        file::create(&path, &[b'x'; 40]).unwrap();
        load_or_create_secret(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(load_or_create_secret(&path).is_err());
    }

    #[test]
    fn a_password_is_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let password = |name: &str, content: &[u8]| {
            let path = dir.path().join(name);
            file::create(&path, content).unwrap();
            load_password(&path).map(|(p, _)| p)
        };
        assert_eq!(password("a", b" pass word \r\nrest").unwrap(), " pass word ");
        assert_eq!(password("b", b"pw").unwrap(), "pw");
        assert!(password("c", b"\n").is_err());
        assert!(password("d", b"\xff\xfe").is_err());
    }
}
