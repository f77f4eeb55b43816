//! The rules that an answer is held to. The relay has checks of its own; these say the same to
//! whoever writes a plugin.

use crate::{Attribute, Decision, HeaderField, Message, Reply, Verdict};

const REPLY_TEXT: usize = 400;
const HEADERS: usize = 16;
const HEADER_NAME: usize = 64;
const HEADER_VALUE: usize = 900;
const ATTRIBUTES: usize = 16;
const ATTRIBUTE_NAME: usize = 64;
const ATTRIBUTE_VALUE: usize = 256;

/// Whether the relay would use this decision, with the header fields that it allows unless
/// configured otherwise.
///
/// # Errors
/// The rule that is broken.
pub fn check(message: &Message, decision: &Decision) -> Result<(), String> {
    verdict(&decision.verdict)?;
    let mut seen = vec![false; message.envelope.recipients.len()];
    for o in &decision.overrides {
        let index = usize::try_from(o.recipient).unwrap_or(usize::MAX);
        match seen.get_mut(index) {
            None => return Err(format!("there is no recipient {}", o.recipient)),
            Some(true) => return Err(format!("two verdicts for recipient {}", o.recipient)),
            Some(first) => *first = true,
        }
        verdict(&o.verdict)?;
    }
    at_most("header fields", decision.headers.len(), HEADERS)?;
    decision.headers.iter().try_for_each(header)?;
    at_most("attributes", decision.attributes.len(), ATTRIBUTES)?;
    decision.attributes.iter().try_for_each(attribute)
}

fn at_most(what: &str, n: usize, limit: usize) -> Result<(), String> {
    if n > limit { Err(format!("{n} {what}, at most {limit} are allowed")) } else { Ok(()) }
}

fn verdict(verdict: &Verdict) -> Result<(), String> {
    match verdict {
        Verdict::Reject(r) => reply(r),
        Verdict::Accept | Verdict::Hold(_) | Verdict::Discard(_) => Ok(()),
    }
}

fn reply(reply: &Reply) -> Result<(), String> {
    let class = match reply.code {
        450..=459 => "4",
        550..=559 => "5",
        code => return Err(format!("{code} is not 45x or 55x")),
    };
    let mut numbers = reply.enhanced.split('.');
    let matching = numbers.next() == Some(class);
    let number = |n: &str| {
        (1..=3).contains(&n.len())
            && n.bytes().all(|c| c.is_ascii_digit())
            && (n.len() == 1 || !n.starts_with('0'))
    };
    let rest: Vec<_> = numbers.collect();
    if !matching || rest.len() != 2 || !rest.iter().all(|n| number(n)) {
        return Err(format!("`{}` is not an enhanced code of class {class}", reply.enhanced));
    }
    if !(1..=REPLY_TEXT).contains(&reply.text.len())
        || !reply.text.bytes().all(|c| c == b' ' || c.is_ascii_graphic())
    {
        return Err(format!("a reply's text is 1 to {REPLY_TEXT} printable ASCII characters"));
    }
    Ok(())
}

fn header(field: &HeaderField) -> Result<(), String> {
    let HeaderField { name, value } = field;
    let lower = name.to_ascii_lowercase();
    let token = name.bytes().all(|c| c.is_ascii_graphic() && c != b':');
    if name.len() > HEADER_NAME || !token || !lower.starts_with("x-") || lower.starts_with("x-relevo-") {
        return Err(format!("the field name `{}` is not allowed", name.escape_debug()));
    }
    at_most(&format!("octets in {name}"), value.len(), HEADER_VALUE)?;
    if !value.iter().all(|c| matches!(c, b' ' | b'\t') || c.is_ascii_graphic()) {
        return Err(format!("the value of {name} is not printable ASCII on one line"));
    }
    Ok(())
}

fn attribute(attribute: &Attribute) -> Result<(), String> {
    let Attribute { name, value } = attribute;
    let character = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'.');
    if !(1..=ATTRIBUTE_NAME).contains(&name.len()) || !name.bytes().all(character) {
        return Err(format!("`{}` is not the name of an attribute", name.escape_debug()));
    }
    at_most(&format!("octets in {name}"), value.len(), ATTRIBUTE_VALUE)?;
    if value.chars().any(char::is_control) {
        return Err(format!("the value of {name} has a control character"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::message;

    fn checked(decision: Decision) -> Result<(), String> {
        check(&message("\n").recipient("a@x.test").recipient("b@x.test").build(), &decision)
    }

    fn rejected(code: u16, enhanced: &str, text: &str) -> Result<(), String> {
        checked(Decision::reject(Reply { code, enhanced: enhanced.into(), text: text.into() }))
    }

    #[test]
    fn what_is_allowed() {
        let decision = Decision::reject(Reply::permanent("5.7.1", "x".repeat(400)))
            .for_recipient(0, Verdict::Reject(Reply::temporary("4.7.999", "Later, please")))
            .for_recipient(1, Verdict::Hold("anything\r\n".into()))
            .header("X-Checked", [b'v'; 900])
            .attribute("pool", "\u{fc}".repeat(128));
        assert_eq!(checked(decision), Ok(()));
    }

    #[test]
    fn replies() {
        for (code, enhanced) in [(250, "2.0.0"), (421, "4.7.0"), (500, "5.0.0"), (560, "5.7.1"), (0, "5.7.1")]
        {
            assert!(rejected(code, enhanced, "No").is_err(), "{code}");
        }
        for enhanced in ["4.7.1", "5.7", "5.7.1.1", "5.7.1000", "5.-7.1", "5..1", "", "5.7.1 "] {
            assert!(rejected(550, enhanced, "No").is_err(), "{enhanced}");
        }
        for text in ["", "No\r\n250 Yes", "N\u{f6}", "tab\t", &"x".repeat(401)] {
            assert!(rejected(550, "5.7.1", text).is_err(), "{text}");
        }
    }

    #[test]
    fn recipients_are_those_of_the_message() {
        assert!(checked(Decision::accept().for_recipient(2, Verdict::Accept)).is_err());
        let mut twice = Decision::accept().for_recipient(0, Verdict::Accept);
        twice.overrides.push(twice.overrides[0].clone());
        assert!(checked(twice).is_err());
    }

    #[test]
    fn header_fields() {
        for name in
            ["Subject", "From", "DKIM-Signature", "X-Relevo-Id", "X-A:", "X-A B", "X-\r\n", "", "X-\u{e4}"]
        {
            assert!(checked(Decision::accept().header(name, "v")).is_err(), "{name}");
        }
        for value in [&b"a\r\nBcc: b"[..], b"a\n", b"a\r", b"\0", b"\xff", &[b'v'; 901]] {
            assert!(checked(Decision::accept().header("X-A", value)).is_err(), "{value:?}");
        }
        let many = (0..17).fold(Decision::accept(), |d, _| d.header("X-A", "v"));
        assert!(checked(many).is_err());
    }

    #[test]
    fn attributes() {
        for (name, value) in
            [("", "v"), ("Pool", "v"), ("a b", "v"), ("a", "v\n"), ("a", &*"v".repeat(1_025))]
        {
            assert!(checked(Decision::accept().attribute(name, value)).is_err(), "{name}={value}");
        }
        let many = (0..33).fold(Decision::accept(), |d, _| d.attribute("a", "v"));
        assert!(checked(many).is_err());
    }
}
