//! Whatever arrives, in whatever pieces: no panic, the same conversation, never a message that was
//! not sent.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

use proptest::prelude::*;
use relevo_proto::Reply;
use relevo_proto::server::{
    AuthPolicy, BareNewlines, Event, Mechanisms, Offers, ProxiedLogin, ScramVerifier, ServerSession,
    SessionConfig, SessionLimits,
};

#[derive(Debug, Default, PartialEq, Eq)]
struct Transcript {
    events: Vec<String>,
    output: String,
    messages: Vec<Vec<u8>>,
    closed: bool,
}

fn mechanisms() -> Mechanisms {
    Mechanisms {
        scram_sha_256: true,
        external: true,
        oauthbearer: true,
        xoauth2: true,
        ..Mechanisms::default()
    }
}

fn config() -> SessionConfig {
    SessionConfig {
        hostname: "mx.test".to_owned(),
        starttls: true,
        auth: AuthPolicy::Always,
        auth_required: false,
        bare_newlines: BareNewlines::Refuse,
        offers: Offers {
            chunking: true,
            xclient: true,
            dsn: true,
            mechanisms: mechanisms(),
            ..Offers::default()
        },
        limits: SessionLimits { message_size: 200, errors: 50, ..SessionLimits::default() },
    }
}

/// A product that refuses every third recipient and otherwise agrees.
fn converse(segments: &[&[u8]]) -> Transcript {
    let mut session = ServerSession::new(config(), None);
    let mut transcript = Transcript::default();
    let (mut recipients, mut content) = (0_u32, Vec::new());
    session.greet(Ok(()));
    for segment in segments {
        session.receive(segment);
        loop {
            let event = session.poll();
            let shown = format!("{event:?}");
            match event {
                Event::NeedInput => break,
                Event::Close => {
                    transcript.closed = true;
                    transcript.output.push_str(&String::from_utf8(session.take_output()).unwrap());
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
                    // Where the chunks fall depends on the segments, and for a message that is
                    // refused in the end so does how much of it was seen.
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
        transcript.output.push_str(&String::from_utf8(session.take_output()).unwrap());
    }
    transcript
}

fn split<'a>(octets: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|c| c % (octets.len() + 1)).collect();
    cuts.sort_unstable();
    let mut parts = Vec::new();
    let mut at = 0;
    for cut in cuts {
        parts.push(&octets[at..cut]);
        at = cut;
    }
    parts.push(&octets[at..]);
    parts
}

/// Pieces of dialogue, sensible and not. None of the commands that must be waited for: with those
/// it does matter what has arrived.
fn free_command() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => Just("MAIL FROM:<a@a.test>\r\n".to_owned()),
        3 => Just("RCPT TO:<b@b.test>\r\n".to_owned()),
        1 => Just("RSET\r\n".to_owned()),
        1 => Just("HELP\r\n".to_owned()),
        2 => Just("BDAT 6 LAST\r\nRSET\r\n".to_owned()),
        2 => (0_usize..250).prop_map(|n| format!("BDAT {n}\r\n{}\r\n", "x".repeat(n.saturating_sub(2)))),
        1 => Just("MAIL FROM:<grå@a.test> SMTPUTF8 SIZE=150\r\n".to_owned()),
        1 => "[A-Z<>@: \r\n\\x00]{0,30}".prop_map(|s| s),
        1 => (2030_usize..2070).prop_map(|n| format!("{}\r\n", "x".repeat(n))),
        1 => (2030_usize..2070).prop_map(|n| format!("{}\n", "x".repeat(n))),
    ]
    .prop_map(String::into_bytes)
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "EHLO x\r\n",
        "HELO x\r\n",
        "MAIL FROM:<a@a.test>\r\n",
        "RCPT TO:<b@b.test>\r\n",
        "DATA\r\n",
        "\r\n.\r\n",
        "\n.\n",
        ".\r\n",
        "\r",
        "\n",
        ".",
        "\0",
        "AUTH PLAIN AHUAcA==\r\n",
        "AUTH LOGIN\r\n",
        "AUTH XOAUTH2 dXNlcj11AWF1dGg9QmVhcmVyIHQBAQ==\r\n",
        "AUTH SCRAM-SHA-256 biwsbj11c2VyLHI9eA==\r\n",
        "MAIL FROM:<a@a.test> RET=FULL ENVID=x+20y\r\n",
        "RCPT TO:<b@b.test> NOTIFY=NEVER ORCPT=rfc822;b@b.test\r\n",
        "dQ==\r\n",
        "*\r\n",
        "STARTTLS\r\n",
        "QUIT\r\n",
        "XCLIENT ADDR=192.0.2.1 PROTO=ESMTP HELO=x LOGIN=u\r\n",
        "BDAT 5\r\n",
        "BDAT 3 LAST\r\n",
        "BDAT x\r\n",
        "NOOP\r\n",
        "RSET\r\n",
        "text",
        " ",
        "<",
        ">",
        "@",
        ":",
        "\"",
        "\\",
        "å",
    ]);
    let word = prop_oneof![
        8 => words.prop_map(|w| w.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec(word, 0..40).prop_map(|w| w.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_segmentation_of_commands_gives_the_same(
        commands in prop::collection::vec(free_command(), 0..12),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let octets = commands.concat();
        let whole = converse(&[b"EHLO x\r\n", &octets]);
        let mut segments: Vec<&[u8]> = vec![b"EHLO x\r\n"];
        segments.extend(split(&octets, &cuts));
        prop_assert_eq!(converse(&segments), whole);
    }

    #[test]
    fn any_segmentation_of_content_gives_the_same(
        content in "[a.\r\n]{0,40}|(a?\\.?\r\n){0,10}|x{190,210}",
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let opening: &[u8] = b"MAIL FROM:<a@a.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n";
        let octets = format!("{content}\r\n.\r\nMAIL FROM:<c@a.test>\r\nRSET\r\n").into_bytes();
        let whole = converse(&[b"EHLO x\r\n", opening, &octets]);
        let mut segments: Vec<&[u8]> = vec![b"EHLO x\r\n", opening];
        segments.extend(split(&octets, &cuts));
        prop_assert_eq!(converse(&segments), whole);
    }

    /// An accepted message never holds a bare CR or LF, and every one has its own DATA.
    #[test]
    fn hostile_octets_are_survived(
        octets in hostile(),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let transcript = converse(&split(&octets, &cuts));
        for message in &transcript.messages {
            let text: Vec<u8> = message.clone();
            prop_assert!(!String::from_utf8_lossy(&text).replace("\r\n", "").contains(['\r', '\n']));
            prop_assert!(message.len() <= 200);
        }
        let data = transcript.events.iter().filter(|e| *e == "Data").count();
        prop_assert!(transcript.messages.len() <= data);
        for line in transcript.output.split_terminator("\r\n") {
            prop_assert!(line.len() <= 510 && line.as_bytes()[..3].iter().all(u8::is_ascii_digit));
        }
    }

    /// Smuggling: a message in front of which anything ambiguous stands is never followed by a
    /// second one.
    #[test]
    fn nothing_is_smuggled(
        before in "[a\r\n]{0,6}",
        end in prop::sample::select(vec!["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\r\r\n.\n", "\n.\r"]),
        cuts in prop::collection::vec(any::<usize>(), 0..10),
    ) {
        let opening: &[u8] = b"MAIL FROM:<a@a.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n";
        let evil = "MAIL FROM:<evil@a.test>\r\nRCPT TO:<v@b.test>\r\nDATA\r\nevil\r\n.\r\n";
        let octets = format!("{before}x{end}{evil}{evil}").into_bytes();
        let mut segments: Vec<&[u8]> = vec![b"EHLO x\r\n", opening];
        segments.extend(split(&octets, &cuts));
        let transcript = converse(&segments);
        prop_assert!(transcript.closed);
        prop_assert_eq!(transcript.messages.len(), 0);
        prop_assert!(transcript.output.ends_with("550 5.5.2 Message contains bare CR or LF\r\n"));
    }

    /// BDAT: the octets that were announced, whatever they are. None of them is a command.
    #[test]
    fn chunks_are_what_was_announced(
        content in "[a.\r\n]{0,40}|(a?\\.?\r\n){0,10}|(QUIT\r\n|RSET\r\n|BDAT 9\r\n){0,5}|x{190,210}",
        lengths in prop::collection::vec(0_usize..20, 0..8),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let mut wire = b"MAIL FROM:<a@a.test>\r\nRCPT TO:<b@b.test>\r\n".to_vec();
        let mut rest = content.as_bytes();
        for length in lengths {
            let (chunk, next) = rest.split_at(length.min(rest.len()));
            wire.extend_from_slice(format!("BDAT {}\r\n", chunk.len()).as_bytes());
            wire.extend_from_slice(chunk);
            rest = next;
        }
        wire.extend_from_slice(format!("BDAT {} LAST\r\n{}", rest.len(), String::from_utf8_lossy(rest)).as_bytes());
        let whole = converse(&[b"EHLO x\r\n", &wire]);
        prop_assert!(!whole.closed);
        let mut expected = content.clone();
        if !content.is_empty() && !content.ends_with('\n') {
            expected.push_str("\r\n");
        }
        let is_bare = expected.replace("\r\n", "").contains(['\r', '\n']);
        let accepted = !is_bare && expected.len() <= 200;
        prop_assert_eq!(&whole.messages, &if accepted { vec![expected.into_bytes()] } else { Vec::new() });
        let mut segments: Vec<&[u8]> = vec![b"EHLO x\r\n"];
        segments.extend(split(&wire, &cuts));
        prop_assert_eq!(converse(&segments), whole);
    }
}
