//! Answers that break a rule.

use relevo_policy_sdk::{Answer, Attribute, Decision, Message, Override, Reply, Verdict};

pub(crate) fn of(case: &str, message: &Message) -> Option<Answer> {
    Some(Ok(match case {
        "header-crlf" => Decision::accept().header("X-A", "v\r\nBcc: victim@reader.test"),
        "header-lf" => Decision::accept().header("X-A", "v\nBcc: victim@reader.test"),
        "header-cr" => Decision::accept().header("X-A", "v\rBcc: victim@reader.test"),
        "header-end" => Decision::accept().header("X-A", "v\r\n\r\n<script>"),
        "header-nul" => Decision::accept().header("X-A", "v\0"),
        "header-8bit" => Decision::accept().header("X-A", b"\xff\xfe"),
        "header-long" => Decision::accept().header("X-A", "v".repeat(901)),
        "header-name-crlf" => Decision::accept().header("X-A: v\r\nBcc", "victim@reader.test"),
        "header-name-colon" => Decision::accept().header("X-A:", "v"),
        "header-name-empty" => Decision::accept().header("", "v"),
        "header-name-space" => Decision::accept().header("X-A ", "v"),
        "header-name-long" => Decision::accept().header(format!("X-{}", "a".repeat(63)), "v"),
        "header-from" => Decision::accept().header("From", "ceo@bank.test"),
        "header-from-case" => Decision::accept().header("fROM", "ceo@bank.test"),
        "header-bcc" => Decision::accept().header("Bcc", "victim@reader.test"),
        "header-received" => Decision::accept().header("Received", "from nowhere"),
        "header-dkim-signature" => Decision::accept().header("DKIM-Signature", "v=1; b="),
        "header-authentication-results" => {
            Decision::accept().header("Authentication-Results", "x; dkim=pass")
        }
        "header-content-type" => Decision::accept().header("Content-Type", "text/html"),
        "header-list-unsubscribe" => Decision::accept().header("List-Unsubscribe", "<https://x.test>"),
        "header-own" => Decision::accept().header("X-Relevo-Tenant", "other"),
        "header-flood" => (0..10_000).fold(Decision::accept(), |d, n| d.header("X-A", n.to_string())),
        "reply-crlf" => rejected(550, "5.7.1", "No\r\n250 2.0.0 Yes"),
        "reply-lf" => rejected(550, "5.7.1", "No\n250 2.0.0 Yes"),
        "reply-utf8" => rejected(550, "5.7.1", "Nein, \u{f6}"),
        "reply-empty" => rejected(550, "5.7.1", ""),
        "reply-long" => rejected(550, "5.7.1", &"n".repeat(401)),
        "reply-250" => rejected(250, "2.0.0", "Accepted"),
        "reply-221" => rejected(221, "2.0.0", "Closing"),
        "reply-354" => rejected(354, "3.0.0", "Go on"),
        "reply-421" => rejected(421, "4.3.2", "Closing"),
        "reply-0" => rejected(0, "5.7.1", "No"),
        "reply-65535" => rejected(u16::MAX, "5.7.1", "No"),
        "reply-class" => rejected(550, "4.7.1", "No"),
        "reply-enhanced" => rejected(550, "5.7.1 250", "No"),
        "override-out-of-range" => widened(message.envelope.recipients.len()),
        "override-max" => widened(usize::MAX),
        "override-twice" => overridden([0, 0].into_iter()),
        "override-flood" => overridden((0..50_000).map(|n| n % 7)),
        "attribute-flood" => (0..10_000).fold(Decision::accept(), |d, n| d.attribute("a", n.to_string())),
        "attribute-name" => Decision::accept().attribute("Pool\r\n", "v"),
        "attribute-control" => Decision::accept().attribute("campaign", "a\r\nb\0"),
        "attribute-long" => Decision::accept().attribute("campaign", "v".repeat(257)),
        "attribute-many" => (0..17).fold(Decision::accept(), |d, n| d.attribute("campaign", n.to_string())),
        "attribute-most" => (0..16).fold(Decision::accept(), |d, _| d.attribute("campaign", "v".repeat(256))),
        "headers-most" | "headers-twice" => most_headers(),
        "attribute-not-granted" => Decision::accept()
            .attribute("pool", "of-another-tenant")
            .attribute("priority", "1000000")
            .attribute("route", "nowhere"),
        "reason-control" => Decision::hold("\u{1b}[2J\r\nforged line \u{202e}"),
        "reason-huge" => Decision::hold("r".repeat(4 << 20)),
        "huge-result" => Decision {
            verdict: Verdict::Accept,
            overrides: vec![],
            headers: vec![],
            attributes: vec![Attribute { name: "campaign".into(), value: String::new() }; 200_000],
        },
        _ => return None,
    }))
}

/// As many and as long as one answer may have.
pub(crate) fn most_headers() -> Decision {
    (0..16).fold(Decision::accept(), |d, _| d.header("X-A", "v".repeat(900)))
}

fn rejected(code: u16, enhanced: &str, text: &str) -> Decision {
    Decision::reject(Reply { code, enhanced: enhanced.to_owned(), text: text.to_owned() })
}

fn widened(index: usize) -> Decision {
    Decision::discard("only the one that is not in the message").for_recipient(index, Verdict::Accept)
}

fn overridden(recipients: impl Iterator<Item = u32>) -> Decision {
    let overrides = recipients.map(|recipient| Override { recipient, verdict: Verdict::Accept }).collect();
    Decision { overrides, ..Decision::accept() }
}
