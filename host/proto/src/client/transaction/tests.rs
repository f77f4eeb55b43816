use relevo_mailkit::dsn::{EnvelopeId, MessageDsn, Notify, OriginalRecipient, RecipientDsn, Ret};
use relevo_mailkit::urgency::{DeliverBy, MtPriority};

use super::*;

fn envelope(n: usize) -> Envelope {
    Envelope {
        sender: "s@a.example".into(),
        recipients: (0..n).map(|i| format!("r{i}@b.example").into()).collect(),
        size: 100,
        ..Envelope::default()
    }
}

fn pipelining() -> Abilities {
    Abilities { eight_bit: true, smtputf8: true, size: Some(None), pipelining: true, ..Abilities::default() }
}

fn chunking() -> Abilities {
    Abilities { chunking: true, ..pipelining() }
}

/// Runs a transaction against scripted replies; `dialogue` is what was sent.
fn run(envelope: &Envelope, abilities: Abilities, replies: &[&str]) -> (TransactionResult, String) {
    let mut replies = replies.iter();
    let mut transaction = ClientTransaction::new(envelope, abilities);
    let mut dialogue = String::new();
    loop {
        match transaction.advance() {
            TransactionStep::Send(commands) => {
                dialogue.push_str(&String::from_utf8(commands).unwrap().replace("\r\n", "|"))
            }
            TransactionStep::SendContent => dialogue.push_str("<content>|"),
            TransactionStep::SendChunk => dialogue.push_str("<chunk>|"),
            TransactionStep::Receive(command) => match replies.next() {
                Some(text) => {
                    let wire = format!("{text}\r\n");
                    let reply =
                        super::super::ReplyParser::default().push(wire.as_bytes()).unwrap().1.unwrap();
                    transaction.reply(reply);
                }
                None => transaction.lost(&Failure::of_host(command, (4, 4, 2), "lost")),
            },
            TransactionStep::Done => break,
        }
    }
    assert_eq!(replies.next(), None, "a reply was not read");
    (transaction.finish(), dialogue)
}

/// `D` delivered, `N` next transaction, `P` permanent, `T` temporary, `H` temporary and the next
/// host.
fn letters(result: &TransactionResult) -> String {
    let letter = |outcome: &RecipientOutcome| match outcome {
        RecipientOutcome::Delivered(_) => 'D',
        RecipientOutcome::NextTransaction => 'N',
        RecipientOutcome::Failed(f) if f.permanent => 'P',
        RecipientOutcome::Failed(f) if f.try_next_host => 'H',
        RecipientOutcome::Failed(_) => 'T',
    };
    let outcomes: String = result.outcomes.iter().map(|(_, o)| letter(o)).collect();
    format!("{outcomes}{}", if result.reusable { '+' } else { '-' })
}

fn check(n: usize, replies: &[&str], expected: &str) -> String {
    check_with(pipelining(), n, replies, expected)
}

fn check_with(abilities: Abilities, n: usize, replies: &[&str], expected: &str) -> String {
    let (result, dialogue) = run(&envelope(n), abilities, replies);
    assert_eq!(letters(&result), expected, "{replies:?}: {result:?}");
    assert!(result.outcomes.iter().enumerate().all(|(i, o)| i == o.0));
    dialogue
}

#[test]
fn one_group_with_pipelining() {
    let dialogue = check(2, &["250 ok", "250 ok", "550 5.1.1 no", "354 go", "250 queued"], "DP+");
    let expected =
        "MAIL FROM:<s@a.example> SIZE=100|RCPT TO:<r0@b.example>|RCPT TO:<r1@b.example>|DATA|<content>|";
    assert_eq!(dialogue, expected);
}

#[test]
fn one_command_at_a_time_without() {
    let (result, dialogue) =
        run(&envelope(2), Abilities::default(), &["250 ok", "450 x", "250 ok", "354 go", "250 queued"]);
    assert_eq!(letters(&result), "TD+");
    assert_eq!(
        dialogue,
        "MAIL FROM:<s@a.example>|RCPT TO:<r0@b.example>|RCPT TO:<r1@b.example>|DATA|<content>|"
    );
}

#[test]
fn nobody_accepted() {
    let dialogue = check(1, &["250 ok", "550 no", "554 no valid recipients", "250 reset"], "P+");
    assert!(dialogue.ends_with("DATA|RSET|"));
    let dialogue = check(1, &["250 ok", "550 no", "354 go", "554 no recipients"], "P+");
    assert!(dialogue.ends_with("DATA|.|"), "{dialogue}");
    let (result, dialogue) = run(&envelope(1), Abilities::default(), &["250 ok", "550 no", "250 reset"]);
    assert_eq!(letters(&result), "P+");
    assert!(dialogue.ends_with("RSET|"));
}

#[test]
fn mail_refused() {
    check(2, &["550 5.7.1 no", "503 mail first", "503 mail first", "503 mail first"], "PP+");
    check(2, &["451 4.7.1 later", "503 x", "503 x", "503 x"], "TT+");
    let (result, dialogue) = run(&envelope(2), Abilities::default(), &["550 no"]);
    assert_eq!((letters(&result).as_str(), dialogue.as_str()), ("PP+", "MAIL FROM:<s@a.example>|"));
}

#[test]
fn too_many_recipients() {
    check(3, &["250 ok", "250 ok", "452 4.5.3 too many", "552 too many", "354 go", "250 ok"], "DNN+");
    check(2, &["250 ok", "452 4.5.3 too many", "452 4.5.3 too many", "503 x", "250 reset"], "TT+");
    check(2, &["250 ok", "250 ok", "452 4.5.3 too many", "354 go", "554 5.6.0 spam"], "PN+");
    check(2, &["250 ok", "250 ok", "452 4.5.3 too many", "354 go"], "HH-");
}

#[test]
fn a_full_mailbox_is_not_too_many() {
    check(2, &["250 ok", "250 ok", "552 5.2.2 full", "354 go", "250 ok"], "DT+");
    let (result, _) = run(&envelope(1), pipelining(), &["250 ok", "552 5.2.2 full", "503 x", "250 reset"]);
    let RecipientOutcome::Failed(failure) = &result.outcomes[0].1 else { panic!() };
    assert_eq!((failure.status, failure.permanent), ((4, 2, 2).into(), false));
}

#[test]
fn what_552_means_at_rcpt_is_said_by_its_detail() {
    let of = |enhanced: Option<(u8, u16, u16)>| {
        let reply = RemoteReply { code: 552, enhanced: enhanced.map(Into::into), text: String::new() };
        let failure = Failure::of_reply(DialogueStep::Rcpt, reply);
        (failure.permanent, failure.status.to_string())
    };
    let want = |permanent, status: &str| (permanent, status.to_owned());
    assert_eq!(of(None), want(false, "4.5.3"));
    assert_eq!(of(Some((5, 5, 3))), want(false, "4.5.3"));
    assert_eq!(of(Some((5, 2, 2))), want(false, "4.2.2"));
    assert_eq!(of(Some((5, 1, 1))), want(true, "5.1.1"));
    assert_eq!(of(Some((5, 3, 4))), want(true, "5.3.4"));
}

#[test]
fn refused_at_data_and_after_the_dot() {
    check(2, &["250 ok", "250 ok", "550 no", "451 later", "250 reset"], "TP+");
    check(1, &["250 ok", "250 ok", "354 go", "552 5.3.4 too large"], "P+");
    check(1, &["250 ok", "250 ok", "354 go", "451 4.3.0 later"], "T+");
}

#[test]
fn the_host_goes_away() {
    check(2, &["250 ok", "550 no", "421 4.3.2 bye"], "PH-");
    check(2, &["250 ok", "250 ok", "550 no", "354 go", "421 bye"], "HP-");
    check(2, &["421 bye"], "HH-");
    check(1, &["250 ok", "250 ok", "354 go"], "H-");
    check(1, &["250 ok", "250 ok", "250 what"], "H-");
    check(1, &["354 what"], "H-");
}

#[test]
fn many_recipients_go_in_groups() {
    let mut replies = vec!["250 ok"; 251];
    replies.extend(["354 go", "250 ok"]);
    let (result, _) = run(&envelope(250), pipelining(), &replies);
    assert_eq!(letters(&result), format!("{}+", "D".repeat(250)));
}

#[test]
fn what_cannot_be_written_is_not_sent() {
    let failed = |envelope: &Envelope| {
        let (result, dialogue) = run(envelope, pipelining(), &[]);
        assert_eq!(dialogue, "");
        assert!(result.reusable);
        let RecipientOutcome::Failed(failure) = &result.outcomes[0].1 else { panic!() };
        assert!(failure.permanent);
        failure.status
    };
    for hostile in ["a@b>\r\nDATA", "a@b> NOTIFY=NEVER", "", "a b@c"] {
        let envelope = Envelope { recipients: vec![hostile.into()], ..envelope(1) };
        assert_eq!(failed(&envelope), (5, 1, 3), "{hostile:?}");
    }
    let utf8 = Envelope { smtputf8: true, eight_bit: true, ..envelope(1) };
    let (result, dialogue) = run(&utf8, pipelining(), &["250 ok", "250 ok", "354 go", "250 ok"]);
    assert!(dialogue.starts_with("MAIL FROM:<s@a.example> SIZE=100 BODY=8BITMIME SMTPUTF8|"));
    assert_eq!(letters(&result), "D+");
}

#[test]
fn a_chunk_goes_when_somebody_is_accepted() {
    let check = |n, replies: &[&str], expected| check_with(chunking(), n, replies, expected);
    let dialogue = check(2, &["250 ok", "250 ok", "550 5.1.1 no", "250 queued"], "DP+");
    let expected = "MAIL FROM:<s@a.example> SIZE=100|RCPT TO:<r0@b.example>|RCPT TO:<r1@b.example>|<chunk>|";
    assert_eq!(dialogue, expected);
    assert!(check(1, &["250 ok", "550 no", "250 reset"], "P+").ends_with("RCPT TO:<r0@b.example>|RSET|"));
    check(2, &["451 4.7.1 later", "503 x", "503 x"], "TT+");
    check(3, &["250 ok", "250 ok", "452 4.5.3 too many", "550 no", "250 ok"], "DNP+");
    let one_by_one = Abilities { pipelining: false, ..chunking() };
    let dialogue = check_with(one_by_one, 2, &["250 ok", "450 x", "250 ok", "250 queued"], "TD+");
    assert!(dialogue.ends_with("RCPT TO:<r1@b.example>|<chunk>|"), "{dialogue}");
}

#[test]
fn a_refused_chunk_ends_the_transaction() {
    let check = |replies: &[&str], expected| check_with(chunking(), 1, replies, expected);
    let dialogue = check(&["250 ok", "250 ok", "552 5.3.4 too large", "250 reset"], "P+");
    assert!(dialogue.ends_with("<chunk>|RSET|"), "{dialogue}");
    check(&["250 ok", "250 ok", "451 4.3.0 later", "250 reset"], "T+");
    check(&["250 ok", "250 ok", "451 4.3.0 later", "421 bye"], "T-");
    check(&["250 ok", "250 ok", "500 what"], "P-");
    check(&["250 ok", "250 ok", "354 what"], "H-");
    check(&["250 ok", "250 ok", "421 bye"], "H-");
    check(&["250 ok", "250 ok"], "H-");
}

#[test]
fn parameters_go_where_they_are_offered() {
    let wanted = Envelope {
        require_tls: true,
        dsn: MessageDsn { ret: Some(Ret::Hdrs), envid: EnvelopeId::new("id 1") },
        deliver_by: DeliverBy::parse("60;R"),
        priority: MtPriority::new(-3),
        recipients: vec![EnvelopeRecipient {
            address: "r@b.example".into(),
            dsn: RecipientDsn {
                notify: Notify::parse("FAILURE,SUCCESS"),
                orcpt: OriginalRecipient::of_address("a+b@c.example"),
            },
        }],
        ..envelope(1)
    };
    let all = Abilities {
        require_tls: true,
        dsn: true,
        deliver_by: Some(None),
        mt_priority: true,
        ..Abilities::default()
    };
    let replies = ["250 ok", "250 ok", "354 go", "250 ok"];
    let (_, dialogue) = run(&wanted, all, &replies);
    let expected = "MAIL FROM:<s@a.example> REQUIRETLS RET=HDRS ENVID=id+201 BY=60;R MT-PRIORITY=-3|\
                    RCPT TO:<r@b.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a+2Bb@c.example|DATA|<content>|";
    assert_eq!(dialogue, expected);
    let none = Abilities { require_tls: true, ..Abilities::default() };
    let (_, dialogue) = run(&wanted, none, &replies);
    assert!(dialogue.starts_with("MAIL FROM:<s@a.example> REQUIRETLS|RCPT TO:<r@b.example>|"), "{dialogue}");
    let (result, dialogue) = run(&wanted, Abilities::default(), &[]);
    let RecipientOutcome::Failed(failure) = &result.outcomes[0].1 else { panic!() };
    assert_eq!((failure.permanent, failure.status, dialogue.as_str()), (true, (5, 7, 30).into(), ""));
}

#[test]
fn a_host_that_takes_no_mail_is_a_permanent_failure_of_the_host() {
    let of = |command, code| {
        let failure = Failure::of_reply(command, RemoteReply { code, enhanced: None, text: String::new() });
        (failure.permanent, failure.try_next_host, failure.status.to_string())
    };
    assert_eq!(of(DialogueStep::Greeting, 521), (true, true, "5.3.2".to_owned()));
    assert_eq!(of(DialogueStep::Greeting, 554), (false, true, "4.3.2".to_owned()));
    assert_eq!(of(DialogueStep::Ehlo, 521), (false, true, "4.3.2".to_owned()));
    assert!(of(DialogueStep::Rcpt, 556).0);
}
