//! `relevo credential new` and `relevo api-key new`: secrets are shown once, hashes are configured.

use std::io::Read;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, SaltString};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use relevo_relay::api_keys::NewToken;
use relevo_smtp::server::{ScramVerifier, sasl_prepared};
use sha2::{Digest, Sha256};

use crate::cli::CredentialArgs;

/// 144 bits, so that guessing is hopeless whatever the hash costs.
const PASSWORD_OCTETS: usize = 18;

/// Iterations of SCRAM, which clients compute at each login. All credentials of a relay must have
/// the same number.
const SCRAM_ITERATIONS: u32 = 50_000;

/// Argon2id with the parameters of OWASP's first choice (19 MiB, 2 passes), in PHC form.
pub(crate) fn hash_password(password: &str) -> anyhow::Result<String> {
    let salt = SaltString::encode_b64(&random::<16>()?).map_err(|e| anyhow::anyhow!("{e}"))?;
    let hash =
        Argon2::default().hash_password(password.as_bytes(), &salt).map_err(|e| anyhow::anyhow!("{e}"))?;
    Ok(hash.to_string())
}

/// What SCRAM-SHA-256 stores of a password. None: SASLprep (RFC 4013) forbids one of its
/// characters.
fn scram_verifier(password: &str) -> anyhow::Result<Option<String>> {
    let verifier = ScramVerifier::derive(password, random::<16>()?.to_vec(), SCRAM_ITERATIONS);
    Ok(verifier.map(|verifier| verifier.to_text()))
}

/// `sha256:` and the digest in hex: API keys are long and random, so a plain digest is enough.
pub(crate) fn hash_api_key(key: &str) -> String {
    let digest = Sha256::digest(key.as_bytes());
    format!("sha256:{}", relevo_mailkit::hex::encode(&digest))
}

pub(crate) fn new_password(args: &CredentialArgs) -> anyhow::Result<ExitCode> {
    let password = if args.stdin { read_password()? } else { new_secret()? };
    let line = credentials_line(&args.username, &password)?;
    if !args.stdin {
        println!("Password (shown this once): {password}\n");
    }
    println!("{line}");
    Ok(ExitCode::SUCCESS)
}

/// The line of the configuration with one user, who may log in by PLAIN, LOGIN and SCRAM-SHA-256.
pub(crate) fn credentials_line(username: &str, password: &str) -> anyhow::Result<String> {
    let hash = hash_password(&sasl_prepared(password))?;
    let scram = match scram_verifier(password)? {
        Some(verifier) => format!(", scram = \"{verifier}\""),
        None => {
            eprintln!("The password has characters that SCRAM forbids: it is for PLAIN and LOGIN only.");
            String::new()
        }
    };
    Ok(format!("credentials = [{{ username = {username:?}, password_hash = \"{hash}\"{scram} }}]"))
}

pub(crate) fn new_api_key(name: &str) -> anyhow::Result<ExitCode> {
    let token = NewToken::new().context("an API key cannot be made")?;
    println!("API key (shown this once): {}\n", token.text);
    println!("api_keys = [{{ name = {name:?}, hash = \"{}\" }}]", hash_api_key(&token.text));
    Ok(ExitCode::SUCCESS)
}

fn read_password() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin().take(1025).read_to_string(&mut text).context("the password could not be read")?;
    let password = text.trim_end_matches(['\r', '\n']);
    ensure!((8..=1024).contains(&password.len()), "the password must have 8 to 1024 octets");
    Ok(password.to_owned())
}

/// A password that is made.
pub(crate) fn new_secret() -> anyhow::Result<String> {
    secret::<PASSWORD_OCTETS>()
}

fn secret<const N: usize>() -> anyhow::Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(random::<N>()?))
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut octets = [0; N];
    getrandom::fill(&mut octets).map_err(|e| anyhow::anyhow!("the system gives no randomness: {e}"))?;
    Ok(octets)
}
