//! Judgements of addresses: whatever the text and whatever is known.
#![no_main]

use libfuzzer_sys::fuzz_target;
use relevo_addresses::{BouncedBefore, Candidate, DomainFinding, History, SuppressedBefore};
use relevo_fuzz::{octet, seeded_bug};
use relevo_mailkit::address::Address;

fn finding(choice: u8) -> DomainFinding {
    match choice % 8 {
        0 => DomainFinding::Mx(vec!["mx.example.net".to_owned()]),
        1 => DomainFinding::ImplicitMx,
        2 => DomainFinding::NullMx,
        3 => DomainFinding::NoSuchDomain,
        4 => DomainFinding::NoMailHost,
        5 => DomainFinding::LoopsBack,
        6 => DomainFinding::Failed,
        _ => DomainFinding::NotLookedUp,
    }
}

fn history(choice: u8) -> History {
    let entry = |all_streams| SuppressedBefore { all_streams, reason: "bounce".to_owned() };
    let suppressed = (choice & 1 != 0).then(|| entry(choice & 2 != 0)).into_iter().collect();
    let bounced = (choice & 4 != 0).then(|| BouncedBefore { day: "2026-11-29".to_owned(), reply: "550".to_owned() });
    History { suppressed, bounced }
}

fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    let (domain, before) = (octet(&mut rest), octet(&mut rest));
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let candidate = Candidate::parse(text);
    let judged = candidate.judge(&finding(domain), &history(before));
    let weightiest = judged.reasons.iter().map(|reason| reason.weight()).max();
    assert_eq!(weightiest.unwrap_or(relevo_addresses::Deliverability::Deliverable), judged.result);
    assert_eq!(judged.reasons.is_empty(), judged.explanation.is_empty());
    let Some(mut suggestion) = judged.suggestion else { return };
    // The seeded bug: the suggestion is in lower case.
    if seeded_bug() {
        suggestion.make_ascii_lowercase();
    }
    assert_ne!(suggestion, text, "suggests the same");
    let meant = Address::parse(&suggestion).expect("a suggestion is an address");
    if let Some(address) = candidate.address() {
        assert_eq!(meant.local, address.local, "another local part");
    }
    let again = Candidate::parse(&suggestion).judge(&DomainFinding::Mx(Vec::new()), &History::default());
    assert_eq!(again.suggestion, None, "{suggestion:?} is a mistake, too");
});
