use super::*;
use aws_lc_rs::signature::{ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

const RSA: &str = include_str!("../../tests/data/rsa2048.pem");
const RSA_PKCS1: &str = include_str!("../../tests/data/rsa2048-pkcs1.pem");
const RSA_SHORT: &str = include_str!("../../tests/data/rsa1024.pem");

/// Made by OpenSSL from the same key.
const RSA_PUBLIC: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAxPGwNWLkGa+cx+8neD+axm0HcWU4EZtoxoPmfPdm0i/qmyEAbhupJSeYnz82OKxx+WR7Qb9seaKD088Hb60riYR9XN35NTjYOUQ5OelFLAnKpmQijvTI8qlnkFL2PD9spgCg+kZBpme8sVJve412b8r3V0H7Xy6nMFNHF+C9qadTNciAkAav7JPyRCJFvRmL7Oe/M7Z+gPfZQQLzpxE0/AaKcfBRJI/nGQ1B0sDUK/CJScrcSLsgr5fM0SAxtqIwV9oVzJBU48EhyTxvOAU1SLFg8dwUe/+38dJLjVOT968HiM8iyfSGVtpzk3iYlsEaPhIPhP40lit++EAnF70ZpwIDAQAB";
const RSA_SIGNATURE: &str = "mmbiZNWyAS/TQ7GZPo69D7IE9cYnu4oL9xSxz3K28eIT8h0jU9JnSDDuMn/Dc0EvwqeO9XXue+fz2GEMCgAMk1KS7gs7GZ5d/XK91H6CCNoQ08VFqDgxIVKzaKAcLkkbWWWQi79Orn+F3WxGhiZ3349mw/8QpvAMF9kGMxSnzQRoU87AToL5rtvXr2RhcSJUKx+4KkPh/sbHDBPZCsR+5W07Cv+osyzf5UyElPBnn6toiqfYgSNn3ckEu/ohyAKyW62KeXdBzR/xsBbkyFuYMkBvjbxoTYMelwP/+bcdwnp9kF42L8ndCJGLBo9ka5wGBZ76ZA53zEPEsjQ2jTyWbg==";

/// RFC 8463 appendix A.2: the seed, wrapped as PKCS #8 version 1 (RFC 8410 section 7).
const ED25519_PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
    -----END PRIVATE KEY-----\n";

fn unsigned(algorithm: Algorithm) -> SigningInput {
    let tags = |fold: &str| {
        format!(
            "v=1; a={}; c=relaxed/relaxed;{fold} d=example.com; s=s1; t=1528637909; h=from:from;{fold} \
             bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=; b=",
            algorithm.as_str()
        )
    };
    SigningInput {
        to_sign: format!("from:Joe <joe@example.com>\r\ndkim-signature:{}", tags("")).into_bytes(),
        field: format!("DKIM-Signature: {}", tags("\r\n")).into_bytes(),
    }
}

fn grant(algorithm: Algorithm) -> Grant<'static> {
    Grant { domain: "example.com", selector: "s1", algorithm, from_field: b"From:  Joe <joe@example.com>" }
}

/// The octets of b=.
fn signature_in(field: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(field.to_vec()).unwrap();
    assert!(text.ends_with("\r\n"));
    assert!(text.lines().all(|l| l.len() < 78), "{text}");
    assert_eq!(recheck::header_fields(field), Ok(()));
    let packed: String = text.rsplit_once("b=").unwrap().1.split_whitespace().collect();
    STANDARD.decode(packed).unwrap()
}

fn public_octets(key: &SigningKey) -> Vec<u8> {
    STANDARD.decode(key.public_record().rsplit_once("p=").unwrap().1).unwrap()
}

#[test]
fn rsa_signs_as_openssl_does() {
    let key = SigningKey::from_pem(RSA, Algorithm::RsaSha256).unwrap();
    assert_eq!(key.public_record(), format!("v=DKIM1; k=rsa; p={RSA_PUBLIC}"));
    let field = key.sign(&grant(Algorithm::RsaSha256), &unsigned(Algorithm::RsaSha256)).unwrap();
    assert_eq!(STANDARD.encode(signature_in(&field)), RSA_SIGNATURE);
}

#[test]
fn rfc_8463_appendix_a() {
    let key = SigningKey::from_pem(ED25519_PEM, Algorithm::Ed25519Sha256).unwrap();
    assert_eq!(key.public_record(), "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
    let tags = "v=1; a=ed25519-sha256; c=relaxed/relaxed; d=football.example.com; i=@football.example.com; \
                q=dns/txt; s=brisbane; t=1528637909; h=from : to : subject : date : message-id : from : subject : \
                date; bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=; b=";
    let to_sign = format!(
        "from:Joe SixPack <joe@football.example.com>\r\n\
         to:Suzie Q <suzie@shopping.example.net>\r\n\
         subject:Is dinner ready?\r\n\
         date:Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n\
         message-id:<20030712040037.46341.5F8J@football.example.com>\r\n\
         dkim-signature:{tags}"
    );
    let field = format!("DKIM-Signature: {}", tags.replace("; ", ";\r\n "));
    let unsigned = SigningInput { to_sign: to_sign.into_bytes(), field: field.into_bytes() };
    let grant = Grant {
        domain: "football.example.com",
        selector: "brisbane",
        algorithm: Algorithm::Ed25519Sha256,
        from_field: b"From: Joe SixPack <joe@football.example.com>",
    };
    let signature = signature_in(&key.sign(&grant, &unsigned).unwrap());
    assert_eq!(
        STANDARD.encode(signature),
        "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw=="
    );
}

#[test]
fn generated_keys_sign_and_survive_their_file() {
    let dir = tempfile::tempdir().unwrap();
    for algorithm in [Algorithm::RsaSha256, Algorithm::Ed25519Sha256] {
        let key = SigningKey::generate(algorithm).unwrap();
        let path = dir.path().join(algorithm.as_str());
        key.write(&path).unwrap();
        assert!(key.write(&path).unwrap_err().to_string().contains("not overwritten"));
        let (read, warning) = SigningKey::load(&path, algorithm).unwrap();
        assert_eq!(warning, None);
        assert_eq!((read.algorithm(), read.public_record()), (algorithm, key.public_record()));
        let unsigned = unsigned(algorithm);
        let signature = signature_in(&read.sign(&grant(algorithm), &unsigned).unwrap());
        let public = public_octets(&key);
        match algorithm {
            Algorithm::RsaSha256 => UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public)
                .verify(&unsigned.to_sign, &signature)
                .unwrap(),
            Algorithm::Ed25519Sha256 => UnparsedPublicKey::new(&ED25519, public)
                .verify(digest(&SHA256, &unsigned.to_sign).as_ref(), &signature)
                .unwrap(),
        }
    }
}

#[test]
fn pkcs_1_and_pkcs_8_version_2_are_read() {
    let key = SigningKey::from_pem(RSA_PKCS1, Algorithm::RsaSha256).unwrap();
    assert_eq!(key.algorithm(), Algorithm::RsaSha256);
    let pair = Ed25519KeyPair::generate().unwrap();
    let text = pem::encode("PRIVATE KEY", pair.to_pkcs8().unwrap().as_ref());
    let key = SigningKey::from_pem(&text, Algorithm::Ed25519Sha256).unwrap();
    assert_eq!(public_octets(&key), pair.public_key().as_ref());
}

#[test]
fn keys_that_do_not_fit_are_refused_by_name() {
    for (text, algorithm, word) in [
        (RSA_SHORT, Algorithm::RsaSha256, "2048"),
        (RSA, Algorithm::Ed25519Sha256, "ed25519-sha256"),
        (RSA_PKCS1, Algorithm::Ed25519Sha256, "RSA PRIVATE KEY"),
        (ED25519_PEM, Algorithm::RsaSha256, "rsa-sha256"),
        ("", Algorithm::RsaSha256, "no private key"),
    ] {
        let error = SigningKey::from_pem(text, algorithm).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn what_was_not_granted_is_not_signed() {
    let key = SigningKey::from_pem(ED25519_PEM, Algorithm::Ed25519Sha256).unwrap();
    let (algorithm, unsigned) = (Algorithm::Ed25519Sha256, unsigned(Algorithm::Ed25519Sha256));
    let good = grant(algorithm);
    assert!(key.sign(&good, &unsigned).is_ok());
    for bad in [
        Grant { domain: "example.org", ..good.clone() },
        Grant { selector: "s2", ..good.clone() },
        Grant { algorithm: Algorithm::RsaSha256, ..good.clone() },
        Grant { from_field: b"From: Eve <eve@example.com>", ..good.clone() },
    ] {
        assert!(matches!(key.sign(&bad, &unsigned), Err(KeyError::NotGranted(_))), "{bad:?}");
    }
}

#[test]
fn debug_shows_no_secret() {
    let key = SigningKey::from_pem(ED25519_PEM, Algorithm::Ed25519Sha256).unwrap();
    assert_eq!(format!("{key:?}"), "SigningKey { algorithm: Ed25519Sha256, .. }");
}
