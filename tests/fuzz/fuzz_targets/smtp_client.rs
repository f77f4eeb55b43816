//! The sending side of SMTP: replies of any server, logins, content on its way out, and the accounting
//! of a transaction.
#![no_main]

use libfuzzer_sys::fuzz_target;
use relevo_fuzz::{find, has_bare, octet, pieces, seeded_bug};
use relevo_mailkit::dsn::{EnvelopeId, MessageDsn, Notify, OriginalRecipient, RecipientDsn, Ret};
use relevo_mailkit::urgency::{DeliverBy, MtPriority};
use relevo_proto::Reply;
use relevo_proto::client::{
    Abilities, AuthMechanism, BareLineEnd, ClientTransaction, DialogueStep, Envelope, EnvelopeRecipient, Failure,
    LineEnds, MalformedReply, NONCE, RecipientOutcome, RemoteReply, ReplyParser, SaslExchange, SaslIdentity,
    SaslSecret, Stuffer, TransactionStep,
};
use relevo_proto::server::{AuthPolicy, SessionConfig, Event, SessionLimits, ServerSession};

type Replies = (Vec<RemoteReply>, Option<MalformedReply>);

fn replies(segments: &[&[u8]]) -> Replies {
    let (mut parser, mut found) = (ReplyParser::default(), Vec::new());
    for segment in segments {
        let mut rest = *segment;
        while !rest.is_empty() {
            match parser.push(rest) {
                Ok((read, reply)) => {
                    assert!(read > 0 && read <= rest.len());
                    assert!(reply.is_some() || read == rest.len(), "octets left without a reply");
                    rest = &rest[read..];
                    found.extend(reply);
                }
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

/// RFC 5321 section 4.2, over the whole input.
fn definition(input: &[u8]) -> Replies {
    let (mut found, mut code, mut texts) = (Vec::new(), None, Vec::new());
    for line in input.split_inclusive(|b| *b == b'\n') {
        let Some(line) = line.strip_suffix(b"\n") else { break };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let number = line.get(..3).and_then(|d| std::str::from_utf8(d).ok()).filter(|d| !d.starts_with('+'));
        let number = number.and_then(|d| d.parse::<u16>().ok()).filter(|n| (200..600).contains(n));
        let (Some(number), None | Some(b' ' | b'-')) = (number, line.get(3)) else {
            return (found, Some(MalformedReply::Line));
        };
        if *code.get_or_insert(number) != number {
            return (found, Some(MalformedReply::Codes));
        }
        texts.push(line.get(4..).unwrap_or_default());
        if line.get(3) != Some(&b'-') {
            let text = String::from_utf8_lossy(&texts.join(&b'\n')).into_owned();
            found.push(RemoteReply { code: number, enhanced: None, text });
            (code, texts) = (None, Vec::new());
        }
    }
    (found, None)
}

fn parsing(seed: u8, input: &[u8]) {
    let whole = replies(&[input]);
    for reply in &whole.0 {
        assert!((200..600).contains(&reply.code));
        assert!(reply.enhanced.is_none_or(|status| status.fits(reply.code)));
        assert!(reply.text.split('\n').count() <= 101 && reply.text.len() <= 3 * 4096);
        let _ = Abilities::parse(reply);
        values(&reply.text);
    }
    login(&whole.0);
    for seed in [0, seed] {
        assert_eq!(replies(&pieces(input, seed)), whole, "cut differently (seed {seed})");
    }
    // Below the bounds, where nothing is cut off.
    if input.len() < 4096 && input.iter().filter(|b| **b == b'\n').count() < 100 {
        let plain: Vec<_> = whole.0.into_iter().map(|r| RemoteReply { enhanced: None, ..r }).collect();
        assert_eq!((plain, whole.1), definition(input));
    }
}

/// Values of parameters that can be read can be written into a command, and read back the same.
fn values(text: &str) {
    fn check<T: ToString + PartialEq + std::fmt::Debug>(text: &str, parse: fn(&str) -> Option<T>) {
        let Some(value) = parse(text) else { return };
        let written = value.to_string();
        assert!(written.bytes().all(|b| b.is_ascii_graphic() && b != b'='), "{written:?}");
        assert_eq!(parse(&written), Some(value));
    }
    check(text, Ret::parse);
    check(text, Notify::parse);
    check(text, EnvelopeId::parse);
    check(text, OriginalRecipient::parse);
    check(text, DeliverBy::parse);
    check(text, MtPriority::parse);
}

/// A server that does not know the password is never believed, whatever it says, and gets one line
/// for each challenge.
fn login(replies: &[RemoteReply]) {
    let identity =
        SaslIdentity { username: "u", host: "mx.test", port: 587, channel_binding: Some([1; 32]) };
    for (mechanism, secret) in [
        (AuthMechanism::ScramSha256Plus, SaslSecret::Password("secret")),
        (AuthMechanism::ScramSha256, SaslSecret::Password("secret")),
        (AuthMechanism::Login, SaslSecret::Password("secret")),
        (AuthMechanism::OauthBearer, SaslSecret::Token("secret")),
        (AuthMechanism::Xoauth2, SaslSecret::Token("secret")),
    ] {
        let mut exchange = SaslExchange::new(mechanism, secret, &identity, [2; NONCE]);
        let mut answers = 0;
        for reply in replies {
            let Ok(line) = exchange.respond(&reply.text) else { break };
            assert!(line.ends_with("\r\n") && find(line.as_bytes(), b"\r\n") == Some(line.len() - 2));
            answers += 1;
            assert!(answers <= 2, "{} has no more than two answers", mechanism.name());
        }
        let by_scram = matches!(mechanism, AuthMechanism::ScramSha256Plus | AuthMechanism::ScramSha256);
        assert_eq!(exchange.finish().is_err(), by_scram, "{}", mechanism.name());
    }
}

/// The seeded bug: each chunk is taken for the middle of a line.
fn push(stuffer: &mut Stuffer, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), BareLineEnd> {
    let start = out.len();
    stuffer.push(chunk, out)?;
    if seeded_bug() && chunk.starts_with(b".") && out[start..].starts_with(b"..") {
        out.remove(start);
    }
    Ok(())
}

fn stuffed(chunks: &[&[u8]]) -> Result<Vec<u8>, BareLineEnd> {
    let (mut stuffer, mut out) = (Stuffer::default(), Vec::new());
    for chunk in chunks {
        push(&mut stuffer, chunk, &mut out)?;
    }
    stuffer.finish(&mut out)?;
    Ok(out)
}

/// What our own server takes this for.
fn received(wire: &[u8]) -> Option<Vec<u8>> {
    let limits = SessionLimits::default();
    let config = SessionConfig {
        hostname: "mx.test".to_owned(),
        starttls: false,
        auth: AuthPolicy::Off,
        auth_required: false,
        bare_newlines: relevo_proto::server::BareNewlines::Refuse,
        offers: relevo_proto::server::Offers::default(),
        limits,
    };
    let mut session = ServerSession::new(config, None);
    session.greet(Ok(()));
    let (mut content, mut messages) = (Vec::new(), Vec::new());
    for segment in [&b"EHLO x\r\n"[..], b"MAIL FROM:<a@a.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n", wire] {
        session.receive(segment);
        loop {
            match session.poll() {
                Event::NeedInput | Event::Close => break,
                Event::Content => content.extend_from_slice(session.content()),
                Event::Finish => {
                    messages.push(std::mem::take(&mut content));
                    session.finished(&Reply::new(250, (2, 0, 0), "Queued"));
                }
                Event::Mail(_) | Event::Rcpt(_) | Event::Data | Event::Authenticate(_) => {
                    session.decide(Ok(()))
                }
                // Nothing more is offered.
                _ => {}
            }
        }
    }
    assert!(messages.len() <= 1, "one message became {}", messages.len());
    messages.pop()
}

fn stuffing(seed: u8, message: &[u8]) {
    let whole = stuffed(&[message]);
    for seed in [0, seed] {
        assert_eq!(stuffed(&pieces(message, seed)), whole, "cut differently (seed {seed})");
    }
    assert_eq!(whole.is_err(), has_bare(message));
    for seed in [0, seed] {
        let mut ends = LineEnds::default();
        let checked = pieces(message, seed).iter().try_for_each(|piece| ends.push(piece)).and_then(|()| ends.finish());
        assert_eq!(checked, whole.as_ref().map(drop).map_err(|error| *error), "checked differently (seed {seed})");
    }
    let Ok(wire) = whole else { return };
    let lines = [b"\r\n", &wire[..]].concat();
    assert_eq!(find(&lines, b"\r\n.\r\n"), Some(lines.len() - 5), "the end is not at the end");
    let mut expected = message.to_vec();
    if !message.is_empty() && !message.ends_with(b"\r\n") {
        expected.extend_from_slice(b"\r\n");
    }
    assert_eq!(received(&wire), Some(expected));
}

fn abilities(flags: u8) -> Abilities {
    Abilities {
        eight_bit: flags & 1 != 0,
        smtputf8: flags & 2 != 0,
        size: (flags & 4 != 0).then_some((flags & 8 != 0).then_some(150)),
        pipelining: flags & 16 != 0,
        chunking: flags & 32 != 0,
        dsn: flags & 64 != 0,
        deliver_by: (flags & 64 != 0).then_some(None),
        mt_priority: flags & 64 != 0,
        ..Abilities::default()
    }
}

/// Nobody is told that a message was delivered unless the server took it for that recipient.
fn transaction(flags: u8, seed: u8, input: &[u8]) {
    let count = usize::from(seed % 5) + 1;
    let asked = String::from_utf8_lossy(input);
    let dsn = RecipientDsn { notify: Some(Notify::NEVER), orcpt: OriginalRecipient::of_address(&asked) };
    let recipient = |i| EnvelopeRecipient { address: format!("r{i}@b.test"), dsn: dsn.clone() };
    let recipients = (0..count).map(recipient).collect();
    let size = if seed & 128 == 0 { 100 } else { 200 };
    let envelope = Envelope {
        sender: "s@a.test".to_owned(),
        recipients,
        size,
        eight_bit: seed & 64 != 0,
        smtputf8: seed & 32 != 0,
        dsn: MessageDsn { ret: Some(Ret::Full), envid: EnvelopeId::new(&*asked) },
        deliver_by: DeliverBy::parse("60;N"),
        priority: MtPriority::new(3),
        require_tls: false,
    };
    let mut replies = replies(&[input]).0.into_iter();
    let mut transaction = ClientTransaction::new(&envelope, abilities(flags));
    let (mut taken, mut accepted, mut sent, mut steps) = (None, 0, false, 0);
    loop {
        steps += 1;
        assert!(steps < 100, "a transaction without end");
        match transaction.advance() {
            TransactionStep::Send(group) => {
                assert!(group.ends_with(b"\r\n") && !has_bare(&group));
                assert!(flags & 32 == 0 || !group.ends_with(b"DATA\r\n"), "DATA where BDAT is offered");
            }
            TransactionStep::SendContent => {
                assert!(accepted > 0 || flags & 16 != 0, "content for nobody");
                sent = true;
            }
            TransactionStep::SendChunk => {
                assert!(accepted > 0 && flags & 32 != 0 && !sent, "a chunk for nobody");
                sent = true;
            }
            TransactionStep::Receive(command) => match replies.next() {
                Some(reply) => {
                    let positive = reply.code < 300;
                    accepted += usize::from(command == DialogueStep::Rcpt && positive);
                    if command == DialogueStep::EndOfData && positive {
                        taken = Some(reply.clone());
                    }
                    transaction.reply(reply);
                }
                None => transaction.lost(&Failure::of_host(command, (4, 4, 2), "lost")),
            },
            TransactionStep::Done => break,
        }
    }
    let result = transaction.finish();
    assert!(result.outcomes.iter().map(|(at, _)| *at).eq(0..count), "not one outcome for each recipient");
    let delivered: Vec<_> = result
        .outcomes
        .iter()
        .filter_map(|(_, o)| if let RecipientOutcome::Delivered(r) = o { Some(r) } else { None })
        .collect();
    assert!(delivered.len() <= accepted && delivered.iter().all(|r| Some(*r) == taken.as_ref()));
    assert!(sent || delivered.is_empty(), "delivered without content");
    // A server that refuses MAIL and takes all that follows gets an empty message, and no recipient
    // is told anything.
    let all_told = delivered.len() == accepted;
    assert!(taken.is_none() || !sent || all_told, "taken and not said so: it would be sent again");
}

fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    let (mode, seed) = (octet(&mut rest), octet(&mut rest));
    match mode % 3 {
        0 => parsing(seed, rest),
        1 => stuffing(seed, rest),
        _ => transaction(mode / 3, seed, rest),
    }
});
