//! How much may wait to be written, and what became of it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use relevo_mailkit::policy::{Attribute, HeaderField, Message, Parameter, Part, Recipient};

/// Messages that wait to be written, and octets of them. What is more is dropped.
pub(super) const WAITING: usize = 256;
const WAITING_OCTETS: usize = 16 << 20;
/// Of both, one tenant's messages may take so much: others are to be recorded too.
pub(super) const SHARE: usize = 4;
/// What a message takes beside its texts, body and data while it waits.
pub(super) const MESSAGE: usize = 4 << 10;

/// Messages that are not written yet.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) messages: AtomicUsize,
    pub(super) octets: AtomicUsize,
}

impl Waiting {
    /// Whether there is room for another one in one part of `parts`. If so, [`Self::leave`] is due when it is written.
    pub(super) fn enter(&self, octets: usize, parts: usize) -> bool {
        let messages = self.messages.fetch_add(1, Ordering::Relaxed) + 1;
        let all = self.octets.fetch_add(octets, Ordering::Relaxed).saturating_add(octets);
        let room = messages <= WAITING / parts && all <= WAITING_OCTETS / parts;
        if !room {
            self.leave(octets);
        }
        room
    }

    pub(super) fn leave(&self, octets: usize) {
        self.messages.fetch_sub(1, Ordering::Relaxed);
        self.octets.fetch_sub(octets, Ordering::Relaxed);
    }
}

/// What became of the recordings of a place since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(super) written: AtomicU64,
    pub(super) dropped: AtomicU64,
    /// Messages on disk now, and their octets.
    pub(super) kept: AtomicUsize,
    pub(super) octets: AtomicU64,
    /// The last one could not be written: said once, not for each message.
    pub(super) failing: AtomicBool,
}

impl Counts {
    pub(crate) fn read(&self) -> (u64, u64) {
        (self.written.load(Ordering::Relaxed), self.dropped.load(Ordering::Relaxed))
    }
}

/// Of all texts in a message.
pub(super) fn octets_of(message: &Message) -> usize {
    let parameters = |all: &[Parameter]| all.iter().map(|p| p.keyword.len() + p.value.len()).sum::<usize>();
    let attributes = |all: &[Attribute]| all.iter().map(|a| a.name.len() + a.value.len()).sum::<usize>();
    let envelope = &message.envelope;
    let recipient =
        |r: &Recipient| size_of::<Recipient>() + r.address.len() + r.domain.len() + parameters(&r.parameters);
    let field = |f: &HeaderField| size_of::<HeaderField>() + f.name.len() + f.value.len();
    let part = |p: &Part| {
        let charset = p.charset.as_ref().map_or(0, String::len);
        size_of::<Part>() + p.media_type.len() + charset + p.transfer_encoding.len()
    };
    envelope.sender.len()
        + parameters(&envelope.parameters)
        + envelope.recipients.iter().map(recipient).sum::<usize>()
        + message.headers.iter().map(field).sum::<usize>()
        + message.parts.iter().map(part).sum::<usize>()
        + attributes(&message.facts)
        + attributes(&message.attributes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_message;

    #[test]
    fn what_a_message_takes_is_counted() {
        let mut message = (*test_message::cases("acme", 7, &None)[0].message).clone();
        let small = octets_of(&message);
        let recipient = message.envelope.recipients[0].clone();
        message.envelope.recipients = vec![Recipient { address: "a".repeat(300), ..recipient }; 1_000];
        message.headers.push(HeaderField { name: "Subject".into(), value: vec![b'x'; 60_000] });
        assert!(small < 2_000 && octets_of(&message) > 360_000, "{small} {}", octets_of(&message));
    }
}
