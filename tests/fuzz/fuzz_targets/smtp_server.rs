//! The receiving side of SMTP: whole conversations, groups of commands, and the content of DATA.
#![no_main]

use libfuzzer_sys::fuzz_target;
use relevo_fuzz::{has_bare, octet, pieces, seeded_bug};
use relevo_proto::Reply;
use relevo_proto::server::{
    AuthPolicy, BareNewlines, Event, FutureRelease, Mechanisms, Offers, ProxiedLogin, ProxyHeader,
    ScramVerifier, ServerSession, SessionConfig, SessionLimits, TlsFacts,
};

const MESSAGE_SIZE: u64 = 200;
const EHLO: &[u8] = b"EHLO x\r\n";
const OPENING: &[u8] = b"MAIL FROM:<a@a.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n";
const BARE_REFUSED: &str = "550 5.5.2 Message contains bare CR or LF\r\n";

/// Commands that must be the last of what has arrived (RFC 2920 section 3.1): with these it does
/// matter how it is cut.
const ENDING_A_GROUP: [&str; 11] =
    ["XCLIENT", "EHLO", "HELO", "STARTTLS", "AUTH", "DATA", "VRFY", "EXPN", "NOOP", "TURN", "QUIT"];

#[derive(Debug, Default, PartialEq, Eq)]
struct Transcript {
    events: Vec<String>,
    output: String,
    messages: Vec<Vec<u8>>,
    closed: bool,
}

/// The flag of a configuration: extensions that are not always there are offered.
const EVERYTHING: u8 = 16;

/// Everything but limits, which would end conversations early, and binary content, which has bare
/// line ends.
fn offers() -> Offers {
    Offers {
        chunking: true,
        dsn: true,
        requiretls: true,
        future_release: Some(FutureRelease { max_interval: 3600, now: 1_700_000_000 }),
        deliver_by: Some(60),
        mt_priority: Some(String::new()),
        xclient: true,
        mechanisms: Mechanisms {
            scram_sha_256: true,
            external: true,
            oauthbearer: true,
            xoauth2: true,
            ..Mechanisms::default()
        },
        ..Offers::default()
    }
}

/// TLS that came first, with all that it can yield.
fn tls(flags: u8) -> Option<TlsFacts> {
    let facts = TlsFacts {
        description: "TLSv1.3".to_owned(),
        exporter: Some([7; 32]),
        client_certificate: Some(b"der".as_slice().into()),
    };
    (flags & 32 != 0).then_some(facts)
}

fn config(flags: u8) -> SessionConfig {
    SessionConfig {
        hostname: "mx.test".to_owned(),
        starttls: flags & 1 == 0,
        auth: [AuthPolicy::Always, AuthPolicy::Off, AuthPolicy::AfterTls][usize::from(flags >> 1 & 3) % 3],
        auth_required: flags & 8 != 0,
        bare_newlines: BareNewlines::Refuse,
        offers: if flags & EVERYTHING == 0 { Offers::default() } else { offers() },
        limits: SessionLimits { message_size: MESSAGE_SIZE, errors: 50, ..SessionLimits::default() },
    }
}

/// The seeded bug: LF.LF ends a message too.
fn receive(session: &mut ServerSession, segment: &[u8]) {
    if seeded_bug() && session.in_content() {
        let text: String = segment.iter().map(|b| char::from(*b)).collect();
        let lenient = text.replace("\n.\n", "\r\n.\r\n");
        session.receive(&lenient.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect::<Vec<u8>>());
    } else {
        session.receive(segment);
    }
}

/// A product that refuses every third recipient and otherwise agrees.
fn converse(flags: u8, segments: &[&[u8]]) -> Transcript {
    let mut session = ServerSession::new(config(flags), tls(flags));
    let mut transcript = Transcript::default();
    let (mut recipients, mut content) = (0_u32, Vec::new());
    session.greet(Ok(()));
    for segment in segments {
        receive(&mut session, segment);
        loop {
            let event = session.poll();
            let shown = format!("{event:?}");
            match event {
                Event::NeedInput => break,
                Event::Close => {
                    transcript.closed = true;
                    transcript.output += &text(session.take_output());
                    return transcript;
                }
                Event::Rcpt(_) => {
                    recipients += 1;
                    let refused = recipients % 3 == 0;
                    session.decide(if refused { Err(Reply::new(550, (5, 1, 1), "no")) } else { Ok(()) });
                }
                Event::Authenticate(_) | Event::ScramProven(_) | Event::Mail(_) | Event::Data => {
                    session.decide(Ok(()));
                }
                Event::Token(_) | Event::External(_) => session.authenticated(Ok("u".to_owned())),
                Event::ScramUser(name) => {
                    session.scram_verifier(Ok(ScramVerifier::decoy(b"secret", &name, 4096)), "nonce");
                }
                Event::Proxied(_) => session.restart(Ok(ProxiedLogin::Known)),
                Event::ScramFailed(_) => session.decide(Ok(())),
                Event::Content => {
                    content.extend_from_slice(session.content());
                    // Where the chunks fall depends on the segments.
                    continue;
                }
                Event::Finish => {
                    transcript.messages.push(std::mem::take(&mut content));
                    session.finished(&Reply::new(250, (2, 0, 0), "Queued"));
                }
                Event::Reset => content.clear(),
                Event::StartTls => session.tls_started("TLSv1.3".to_owned()),
            }
            transcript.events.push(shown);
        }
        transcript.output += &text(session.take_output());
    }
    transcript
}

fn text(output: Vec<u8>) -> String {
    String::from_utf8(output).expect("replies are ASCII")
}

/// Whatever is said.
fn check(transcript: &Transcript) {
    for message in &transcript.messages {
        assert!(!has_bare(message), "an accepted message has a bare CR or LF");
        assert!(message.len() as u64 <= MESSAGE_SIZE, "an accepted message is too large");
    }
    // DATA or the first BDAT.
    let data = transcript.events.iter().filter(|e| *e == "Data").count();
    assert!(transcript.messages.len() <= data, "a message without DATA");
    assert!(transcript.output.is_empty() || transcript.output.ends_with("\r\n"));
    for line in transcript.output.split_terminator("\r\n") {
        let octets = line.as_bytes();
        assert!((4..=510).contains(&octets.len()) && octets[..3].iter().all(u8::is_ascii_digit), "{line:?}");
        assert!(
            matches!(octets[3], b' ' | b'-') && octets.iter().all(|b| (0x20..0x7f).contains(b)),
            "{line:?}"
        );
    }
}

fn conversation(flags: u8, seed: u8, octets: &[u8]) {
    check(&converse(flags, &pieces(octets, seed)));
    // As a client sends that waits after each line.
    let lines: Vec<&[u8]> = octets.split_inclusive(|b| *b == b'\n').collect();
    check(&converse(flags, &lines));
}

fn commands(flags: u8, seed: u8, octets: &[u8]) {
    let upper = String::from_utf8_lossy(octets).to_ascii_uppercase();
    if ENDING_A_GROUP.iter().any(|verb| upper.contains(verb)) {
        return;
    }
    let whole = converse(flags, &[EHLO, octets]);
    check(&whole);
    for seed in [0, seed] {
        let segments = [vec![EHLO], pieces(octets, seed)].concat();
        assert_eq!(converse(flags, &segments), whole, "cut differently (seed {seed})");
    }
}

/// What DATA means: all before the first line that is a dot. None: there is no such line.
fn definition(input: &[u8]) -> Option<&[u8]> {
    let ends = |i: &usize| input[*i..].starts_with(b".\r\n") && (*i == 0 || input[..*i].ends_with(b"\r\n"));
    let end = (0..input.len()).find(ends)?;
    Some(&input[..end])
}

fn content(seed: u8, octets: &[u8]) {
    let octets = [octets, b"\r\n.\r\n"].concat();
    let raw = definition(&octets).expect("the end was appended");
    let whole = converse(0, &[EHLO, OPENING, &octets]);
    check(&whole);
    if has_bare(raw) {
        assert!(whole.closed, "the connection goes on after a bare CR or LF");
        assert_eq!(whole.messages.len(), 0, "a message with a bare CR or LF was accepted");
        assert!(whole.output.ends_with(BARE_REFUSED), "{}", whole.output);
    } else {
        let mut unstuffed = Vec::new();
        for line in raw.split_inclusive(|b| *b == b'\n') {
            unstuffed.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        }
        if unstuffed.len() as u64 > MESSAGE_SIZE {
            assert_ne!(whole.messages.first(), Some(&unstuffed), "too large");
        } else {
            assert_eq!(whole.messages.first(), Some(&unstuffed));
        }
    }
    // What comes after the message may be commands that must be waited for; up to there it does not
    // matter how it is cut.
    let message = &octets[..raw.len() + b".\r\n".len()];
    let whole = converse(0, &[EHLO, OPENING, message]);
    for seed in [0, seed] {
        let segments = [vec![EHLO, OPENING], pieces(message, seed)].concat();
        assert_eq!(converse(0, &segments), whole, "cut differently (seed {seed})");
    }
}

/// What BDAT means: the octets that were announced, whatever they are. None of them is a command.
fn chunks(seed: u8, octets: &[u8]) {
    let mut wire = b"MAIL FROM:<a@a.test>\r\nRCPT TO:<b@b.test>\r\n".to_vec();
    for piece in pieces(octets, seed) {
        wire.extend_from_slice(format!("BDAT {}\r\n", piece.len()).as_bytes());
        wire.extend_from_slice(piece);
    }
    wire.extend_from_slice(b"BDAT 0 LAST\r\n");
    let whole = converse(EVERYTHING, &[EHLO, &wire]);
    check(&whole);
    assert!(!whole.closed, "{}", whole.output);
    let mut expected = octets.to_vec();
    if !octets.is_empty() && !octets.ends_with(b"\n") {
        expected.extend_from_slice(b"\r\n");
    }
    let accepted = !has_bare(&expected) && expected.len() as u64 <= MESSAGE_SIZE;
    assert_eq!(whole.messages, if accepted { vec![expected] } else { Vec::new() });
    let commands = whole.events.iter().filter(|e| e.starts_with("Mail") || e.starts_with("Rcpt")).count();
    assert_eq!(commands, 2, "content was read as commands");
    for seed in [0, seed] {
        let segments = [vec![EHLO], pieces(&wire, seed)].concat();
        assert_eq!(converse(EVERYTHING, &segments), whole, "cut differently (seed {seed})");
    }
}

/// A header never asks for more than is left of it, and what is read does not depend on what follows.
fn proxy(octets: &[u8]) {
    let mut received = 0;
    let header = loop {
        match ProxyHeader::parse(&octets[..received]) {
            Ok(ProxyHeader::Partial(n)) => {
                assert!(n > 0 && received + n <= ProxyHeader::MAX, "{received} and {n}");
                received += n;
                if received > octets.len() {
                    return;
                }
            }
            Ok(ProxyHeader::Complete(_)) => break &octets[..received],
            Err(_) => return,
        }
    };
    let is_version_1 = header.starts_with(b"PROXY ") && header.ends_with(b"\r\n");
    assert!(is_version_1 || header.len() >= 16, "a header of neither version");
    for cut in 0..header.len() {
        let partial = ProxyHeader::parse(&header[..cut]);
        assert!(matches!(partial, Ok(ProxyHeader::Partial(n)) if cut + n <= header.len()), "cut at {cut}");
    }
}

fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    let (mode, seed) = (octet(&mut rest), octet(&mut rest));
    match mode {
        // Flags go up to 79.
        240..=247 => chunks(seed, rest),
        248..=255 => proxy(rest),
        _ => match mode % 3 {
            0 => content(seed, rest),
            1 => commands(mode / 3, seed, rest),
            _ => conversation(mode / 3, seed, rest),
        },
    }
});
