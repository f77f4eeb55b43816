//! What a policy plugin answers, against definitions that are written differently.
#![no_main]

use libfuzzer_sys::fuzz_target;
use relevo_fuzz::{find, has_bare, octet, seeded_bug};
use relevo_mailkit::policy::{Attribute, Decision, HeaderField, Override, Verdict};
use relevo_mailkit::reply::Reply;
use relevo_mailkit::recheck::policy::{self, Checked, HeaderNames};

/// Ends a record of the input. In no UTF-8.
const END: u8 = 0xfe;

/// Far more than an input has.
const OCTETS: usize = 1 << 20;

/// The seeded bug: a line end in a field is taken for a space.
fn check(answer: &Decision, recipients: usize) -> Result<Checked, &'static str> {
    let mut seen = answer.clone();
    if seeded_bug() {
        for octet in seen.headers.iter_mut().flat_map(|field| field.value.iter_mut()) {
            *octet = if matches!(octet, b'\r' | b'\n') { b' ' } else { *octet };
        }
    }
    let mut checked = policy::decision(seen, recipients, &HeaderNames::default(), OCTETS)?;
    if seeded_bug() {
        checked.decision.headers = answer.headers.clone();
    }
    Ok(checked)
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// `name=value`
fn pair(record: &[u8]) -> (String, Vec<u8>) {
    let at = record.iter().position(|b| *b == b'=').unwrap_or(record.len());
    (text(&record[..at]), record.get(at + 1..).unwrap_or_default().to_vec())
}

/// The kind of the verdict, the code, then records: `h` a field, `a` an attribute, `o` an override,
/// `e` the enhanced code, `t` the text or reason.
fn answer(mut input: &[u8]) -> (Decision, usize) {
    let flags = octet(&mut input);
    let code = u16::from_be_bytes([octet(&mut input), octet(&mut input)]);
    let mut decision = Decision::from(Verdict::Accept);
    let (mut enhanced, mut words) = (String::new(), String::new());
    for record in input.split(|b| *b == END) {
        let Some((kind, rest)) = record.split_first() else { continue };
        match kind {
            b'h' => {
                let (name, value) = pair(rest);
                decision.headers.push(HeaderField { name, value });
            }
            b'a' => {
                let (name, value) = pair(rest);
                decision.attributes.push(Attribute { name, value: text(&value) });
            }
            b'o' => {
                let recipient = rest.first().map_or(u32::MAX, |n| u32::from(*n));
                let reason = text(rest.get(1..).unwrap_or_default());
                decision.overrides.push(Override { recipient, verdict: Verdict::Hold(reason) });
            }
            b'e' => enhanced = text(rest),
            b't' => words = text(rest),
            _ => {}
        }
    }
    decision.verdict = match flags % 4 {
        0 => Verdict::Accept,
        1 => Verdict::Reject(Reply { code, enhanced: enhanced.parse().ok(), text: words }),
        2 => Verdict::Hold(words),
        _ => Verdict::Discard(words),
    };
    (decision, usize::from(flags >> 4))
}

fn field_fits(field: &HeaderField) -> bool {
    let name = field.name.to_ascii_lowercase();
    let graphic = name.chars().all(|c| ('!'..='~').contains(&c) && c != ':');
    let ours = name.starts_with("x-") && !name.starts_with("x-relevo-");
    let value = field.value.iter().all(|b| *b == 9 || (32..127).contains(b));
    graphic && ours && name.len() < 65 && value && field.value.len() < 901
}

fn attribute_fits(attribute: &Attribute) -> bool {
    let known = "abcdefghijklmnopqrstuvwxyz0123456789-.";
    let name = attribute.name.chars().all(|c| known.contains(c)) && (1..65).contains(&attribute.name.len());
    name && attribute.value.len() < 257 && attribute.value.chars().all(|c| !c.is_control())
}

fn fits(answer: &Decision, recipients: usize) -> bool {
    let mut named: Vec<u32> = answer.overrides.iter().map(|own| own.recipient).collect();
    named.sort_unstable();
    let once = named.windows(2).all(|pair| pair[0] < pair[1]);
    let there = named.last().is_none_or(|last| (*last as usize) < recipients);
    let few = answer.headers.len() < 17 && answer.attributes.len() < 17;
    once && there
        && few
        && answer.headers.iter().all(field_fits)
        && answer.attributes.iter().all(attribute_fits)
}

fn reply_fits(reply: &Reply) -> bool {
    let class = match reply.code {
        450..=459 => 4,
        550..=559 => 5,
        _ => return false,
    };
    let line = reply.text.chars().all(|c| (' '..='~').contains(&c)) && (1..401).contains(&reply.text.len());
    line && reply.enhanced.is_some_and(|e| e.class == class && e.subject < 1000 && e.detail < 1000)
}

fn reason_is_one_line(reason: &str) {
    assert!(reason.len() <= 200 && reason.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{reason:?}");
}

fuzz_target!(|input: &[u8]| {
    let (answered, recipients) = answer(input);
    let verdict = check(&answered, recipients);
    assert!(seeded_bug() || verdict.is_ok() == fits(&answered, recipients), "{verdict:?}: {answered:?}");
    let Ok(Checked { decision, replaced }) = verdict else { return };
    match (&answered.verdict, &decision.verdict) {
        (Verdict::Accept, Verdict::Accept) => {}
        (Verdict::Reject(before), Verdict::Reject(after)) => {
            assert_eq!(replaced.is_none(), reply_fits(before), "{replaced:?}: {before:?}");
            assert!(reply_fits(after), "{after:?}");
            assert!(replaced.is_none() || (after.code == 451 && after.status() == (4, 3, 5)));
        }
        (Verdict::Hold(_), Verdict::Hold(reason)) | (Verdict::Discard(_), Verdict::Discard(reason)) => {
            reason_is_one_line(reason);
        }
        other => panic!("another verdict: {other:?}"),
    }
    for own in &decision.overrides {
        let Verdict::Hold(reason) = &own.verdict else { panic!("another verdict") };
        reason_is_one_line(reason);
    }
    // On top of a message it adds these fields and nothing else.
    let block = policy::header_block(&decision.headers);
    let message = [&block[..], b"Subject: x\r\n\r\n.\r\nbody\r\n"].concat();
    assert!(!has_bare(&message));
    let end = find(&message, b"\r\n\r\n").expect("the empty line");
    assert_eq!(end, block.len() + "Subject: x".len(), "the header ends elsewhere");
    let begins = |line: &&[u8]| line.first().is_some_and(|b| !b.is_ascii_whitespace());
    assert_eq!(block.split(|b| *b == b'\n').filter(begins).count(), decision.headers.len());
});
