//! Textual encoding of keys (RFC 7468), no more than key files need: the first private key in the
//! text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// The DER of the first private key and its label.
pub(crate) fn first_private_key(text: &str) -> Result<(&str, Zeroizing<Vec<u8>>), &'static str> {
    const BEGIN: &str = "-----BEGIN ";
    let mut rest = text;
    while let Some(begin) = rest.find(BEGIN) {
        let (label, body) = rest[begin + BEGIN.len()..].split_once("-----").ok_or("is not PEM")?;
        let end = format!("-----END {label}-----");
        let (body, after) = body.split_once(end.as_str()).ok_or("has a PEM block without its end")?;
        if label.ends_with("PRIVATE KEY") {
            if label.contains("ENCRYPTED") || body.contains("ENCRYPTED") {
                return Err(
                    "is encrypted with a passphrase: store it without (openssl pkey -in FILE -out NEW)",
                );
            }
            return decode(body).map(|der| (label, der));
        }
        rest = after;
    }
    Err("has no private key in PEM")
}

fn decode(body: &str) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let packed: Zeroizing<Vec<u8>> =
        Zeroizing::new(body.bytes().filter(|c| !c.is_ascii_whitespace()).collect());
    let mut der = Zeroizing::new(vec![0; packed.len() / 4 * 3 + 3]);
    let n = STANDARD.decode_slice(packed.as_slice(), &mut der).map_err(|_| "has PEM that is not base64")?;
    der.truncate(n);
    Ok(der)
}

/// One block with lines of 64.
pub(crate) fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    let packed = Zeroizing::new(STANDARD.encode(der));
    let mut text =
        Zeroizing::new(String::with_capacity(packed.len() + packed.len() / 64 + 2 * label.len() + 40));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    let mut rest = packed.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn other_blocks_are_passed_over() {
        let text = format!(
            "comment\n{}{}",
            encode("EC PARAMETERS", b"parameters").as_str(),
            encode("PRIVATE KEY", b"key").as_str()
        );
        let (label, der) = first_private_key(&text).unwrap();
        assert_eq!((label, der.as_slice()), ("PRIVATE KEY", &b"key"[..]));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (text, word) in [
            ("", "no private key"),
            ("-----BEGIN X", "not PEM"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA", "without its end"),
            ("-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----", "base64"),
            (
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----",
                "passphrase",
            ),
        ] {
            assert!(first_private_key(text).unwrap_err().contains(word), "{text}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(der: Vec<u8>) {
            let text = encode("PRIVATE KEY", &der);
            prop_assert!(text.lines().all(|l| l.len() <= 64));
            let (_, read) = first_private_key(&text).unwrap();
            prop_assert_eq!(read.as_slice(), der);
        }

        #[test]
        fn never_panics(text in "(-----(BEGIN|END) (PRIVATE KEY|é)?-----|[A-Z=\n]{0,9}|\\PC{0,5}){0,8}") {
            let _ = first_private_key(&text);
        }
    }
}
