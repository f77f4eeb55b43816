use super::*;

fn identity(username: &str, channel_binding: Option<[u8; 32]>) -> SaslIdentity<'_> {
    SaslIdentity { username, host: "smtp.example", port: 587, channel_binding }
}

fn exchange(mechanism: AuthMechanism, secret: SaslSecret<'_>) -> SaslExchange {
    SaslExchange::new(mechanism, secret, &identity("user", None), [0; NONCE])
}

fn decoded(line: &str) -> String {
    let payload = line.trim_end().rsplit(' ').next().unwrap();
    String::from_utf8(STANDARD.decode(payload).unwrap()).unwrap()
}

/// The example of RFC 7677 section 3, with its nonce.
fn example() -> SaslExchange {
    let nonce = "rOprNGfwEbeRWgbNEkqO";
    let scram = Scram::new("user", "pencil", nonce, None, false);
    SaslExchange {
        mechanism: AuthMechanism::ScramSha256,
        answers: Vec::new().into_iter(),
        initial: scram.first(),
        scram: Some(scram),
    }
}

const SERVER_FIRST: &str =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

#[test]
fn scram_as_in_the_rfc() {
    let mut login = example();
    assert!(login.command().starts_with("AUTH SCRAM-SHA-256 "));
    assert_eq!(decoded(&login.command()), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let proof = login.respond(&STANDARD.encode(SERVER_FIRST)).unwrap();
    let expected = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    assert_eq!(decoded(&proof), expected);
    assert_eq!(login.finish(), Err(SaslError::Unproved), "235 before the proof");
    assert_eq!(login.respond(&STANDARD.encode(SERVER_FINAL)).unwrap(), "\r\n");
    assert_eq!(login.finish(), Ok(()));
    assert_eq!(login.respond(""), Err(SaslError::TooMany));
}

#[test]
fn a_server_that_does_not_know_the_password_is_not_believed() {
    let at_last = |words: &str| {
        let mut login = example();
        login.respond(&STANDARD.encode(SERVER_FIRST)).unwrap();
        let answer = login.respond(&STANDARD.encode(words));
        (answer.map(drop), login.finish())
    };
    let forged = format!("v={}", STANDARD.encode([7; 32]));
    let unproved = Err(SaslError::Unproved);
    assert_eq!(at_last(&forged), (unproved, unproved));
    assert_eq!(at_last("v=AAAA").0, unproved);
    assert_eq!(at_last("e=invalid-proof"), (Err(SaslError::Refused), unproved));
    assert_eq!(at_last(""), (Err(SaslError::Malformed), unproved));
    assert_eq!(at_last(SERVER_FINAL), (Ok(()), Ok(())));
}

#[test]
fn challenges_that_are_refused() {
    let at_first = |words: &str| example().respond(&STANDARD.encode(words)).map(drop);
    let nonce = "rOprNGfwEbeRWgbNEkqO";
    for (words, expected) in [
        (format!("r={nonce},s=AAAA,i=4096"), SaslError::Nonce),
        ("r=other,s=AAAA,i=4096".to_owned(), SaslError::Nonce),
        (format!("r={nonce}x,s=AAAA,i=4095"), SaslError::Iterations(4095)),
        (format!("r={nonce}x,s=AAAA,i=600001"), SaslError::Iterations(600_001)),
        (format!("r={nonce}x,s=AAAA,i=99999999999"), SaslError::Malformed),
        (format!("r={nonce}x,s=?,i=4096"), SaslError::Malformed),
        (format!("r={nonce}x,i=4096,s=AAAA"), SaslError::Malformed),
        (format!("m=ext,r={nonce}x,s=AAAA,i=4096"), SaslError::Malformed),
        (String::new(), SaslError::Malformed),
    ] {
        assert_eq!(at_first(&words), Err(expected), "{words}");
    }
    assert_eq!(example().respond("not base64!"), Err(SaslError::Malformed));
    assert_eq!(example().respond("/w=="), Err(SaslError::Malformed));
}

#[test]
fn the_connection_is_bound_in() {
    let login = |mechanism, binding| {
        let secret = SaslSecret::Password("p");
        let mut login = SaslExchange::new(mechanism, secret, &identity("a,b=c", binding), [1; NONCE]);
        let first = decoded(&login.command());
        let nonce = first.rsplit_once("r=").unwrap().1.to_owned();
        let proof = login.respond(&STANDARD.encode(format!("r={nonce}x,s=AAAA,i=4096"))).unwrap();
        let c = decoded(&proof).split(',').next().unwrap().strip_prefix("c=").unwrap().to_owned();
        (first, STANDARD.decode(c).unwrap())
    };
    let binding = [9; 32];
    let (first, bound) = login(AuthMechanism::ScramSha256Plus, Some(binding));
    assert!(first.starts_with("p=tls-exporter,,n=a=2Cb=3Dc,r="), "{first}");
    assert_eq!(bound, [&b"p=tls-exporter,,"[..], &binding].concat());
    let (first, bound) = login(AuthMechanism::ScramSha256, Some(binding));
    assert!(first.starts_with("y,,n="), "{first}");
    assert_eq!(bound, b"y,,");
    assert_eq!(login(AuthMechanism::ScramSha256, None).1, b"n,,");
}

#[test]
fn tokens() {
    let mut login = exchange(AuthMechanism::OauthBearer, SaslSecret::Token("tok"));
    let first = decoded(&login.command());
    assert_eq!(first, "n,a=user,\x01host=smtp.example\x01port=587\x01auth=Bearer tok\x01\x01");
    assert_eq!(login.respond("eyJzdGF0dXMiOiJpbnZhbGlkIn0=").unwrap(), "AQ==\r\n");
    assert_eq!(login.respond(""), Err(SaslError::TooMany));
    let mut login = exchange(AuthMechanism::Xoauth2, SaslSecret::Token("tok"));
    assert_eq!(decoded(&login.command()), "user=user\x01auth=Bearer tok\x01\x01");
    assert_eq!(login.respond("e30=").unwrap(), "\r\n");
    assert_eq!(login.finish(), Ok(()));
}

#[test]
fn passwords_as_they_are() {
    let password = SaslSecret::Password("p\u{e5}");
    assert_eq!(decoded(&exchange(AuthMechanism::Plain, password).command()), "\0user\0p\u{e5}");
    let mut login = exchange(AuthMechanism::Login, password);
    assert_eq!(login.command(), "AUTH LOGIN\r\n");
    assert_eq!(decoded(&login.respond("VXNlcm5hbWU6").unwrap()), "user");
    assert_eq!(decoded(&login.respond("anything").unwrap()), "p\u{e5}");
    assert_eq!(login.respond("x"), Err(SaslError::TooMany));
}

#[test]
fn the_strongest_is_chosen() {
    use AuthMechanism::{Login, OauthBearer, Plain, ScramSha256, ScramSha256Plus, Xoauth2};
    let all: AuthMechanisms =
        [Login, Plain, Xoauth2, OauthBearer, ScramSha256, ScramSha256Plus].into_iter().collect();
    let (password, token) = (SaslSecret::Password("p"), SaslSecret::Token("t"));
    assert_eq!(all.strongest(password, true), Some(ScramSha256Plus));
    assert_eq!(all.strongest(password, false), Some(ScramSha256));
    assert_eq!(all.strongest(token, true), Some(OauthBearer));
    let some: AuthMechanisms = [Login, Xoauth2, Plain].into_iter().collect();
    assert_eq!(some.strongest(password, true), Some(Plain));
    assert_eq!(some.strongest(token, false), Some(Xoauth2));
    assert_eq!(AuthMechanisms::default().strongest(password, true), None);
    let tokens: AuthMechanisms = [OauthBearer].into_iter().collect();
    assert_eq!(tokens.strongest(password, true), None);
}

/// The user is `user`, and the password `pencil`, whichever way they are written (RFC 4013).
#[test]
fn names_and_passwords_of_scram_are_prepared() {
    let written = Scram::new("use\u{ad}r", "pen\u{ad}cil", "rOprNGfwEbeRWgbNEkqO", None, false);
    let mut login = SaslExchange { scram: Some(written), ..example() };
    let proof = login.respond(&STANDARD.encode(SERVER_FIRST)).unwrap();
    assert_eq!(proof, example().respond(&STANDARD.encode(SERVER_FIRST)).unwrap());
}
