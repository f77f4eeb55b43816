//! Whether a host can take a message for a recipient, by what it announced, and the envelope that
//! it gets.

use relevo_mailkit::address::to_ascii;
use relevo_mailkit::dsn::{MessageDsn, RecipientDsn};
use relevo_mailkit::options::MailOptions;
use relevo_mailkit::urgency::{ByMode, DeliverBy, MtPriority};
use relevo_queue::{Millis, Priority};
use relevo_smtp::client::{Envelope, EnvelopeRecipient, Failure};

use super::dial::HopOffer;
use super::failure;

/// A copy and its reverse-path, as far as extensions of SMTP are concerned.
#[derive(Clone, Copy)]
pub(crate) struct OutgoingMessage<'a> {
    /// The reverse-path.
    pub(crate) sender: &'a str,
    /// Of the copy.
    pub(crate) size: u64,
    /// BODY=8BITMIME is needed.
    pub(crate) eight_bit: bool,
    /// The header needs SMTPUTF8.
    pub(crate) utf8_header: bool,
    /// What the sender asked for.
    pub(crate) options: &'a MailOptions,
    /// The priority that the message has here, which plugins and grants decide on.
    pub(crate) priority: Priority,
    /// For how long the message has been here.
    pub(crate) waited: Millis,
}

impl OutgoingMessage<'_> {
    /// The same message with another reverse-path, if there is one.
    pub(crate) fn from<'s>(&'s self, reverse_path: Option<&'s str>) -> OutgoingMessage<'s> {
        OutgoingMessage { sender: reverse_path.unwrap_or(self.sender), ..*self }
    }

    /// Why `host` with this offer cannot take it for `recipient`: its SIZE is too small (RFC 1870),
    /// or it lacks REQUIRETLS (RFC 8689), or DELIVERBY for mail that is to be returned when it is
    /// late (RFC 2852), or 8BITMIME for a copy that could not be made 7bit (RFC 6152), or SMTPUTF8
    /// (RFC 6531 section 3.2). Looked at here only. ASCII local parts at internationalised domains need
    /// none: the domain has an A-label form.
    pub(crate) fn misfit(&self, recipient: &str, offer: &HopOffer, host: &str) -> Option<Failure> {
        if offer.max_size.is_some_and(|max| max > 0 && self.size > max) {
            let detail = format!("{} octets are more than {host} takes", self.size);
            return Some(failure::ours(failure::TOO_BIG, detail));
        }
        if self.options.require_tls && !offer.require_tls {
            let detail = format!("the sender asks for REQUIRETLS, which {host} does not offer");
            return Some(failure::ours(failure::TLS_NOT_KEPT, detail));
        }
        if let Some(failure) = self.is_late_for(offer, host) {
            return Some(failure);
        }
        if self.eight_bit && !offer.abilities.eight_bit {
            return Some(failure::ours(failure::NOT_CONVERTED, format!("{host} does not offer 8BITMIME")));
        }
        if offer.abilities.smtputf8 {
            return None;
        }
        let (status, what) = if self.utf8_header {
            (failure::UTF8_HEADER, "its header")
        } else if needs_utf8(self.sender) {
            (failure::UTF8_ADDRESS, "its reverse-path")
        } else if needs_utf8(recipient) {
            (failure::UTF8_ADDRESS, "the recipient's address")
        } else {
            return None;
        };
        Some(failure::ours(status, format!("{what} needs SMTPUTF8, which {host} does not offer")))
    }

    /// Why mail that is to be returned when it is late cannot go to `host`: it is late, or the host
    /// does not return it in time (RFC 2852 section 4).
    fn is_late_for(&self, offer: &HopOffer, host: &str) -> Option<Failure> {
        let by = self.deliver_by().filter(|by| by.mode == ByMode::Return)?;
        if by.seconds <= 0 {
            let detail = "the time that the sender gave for delivery is over";
            return Some(failure::ours(failure::TOO_LATE, detail));
        }
        if takes_time(offer.deliver_by, by) {
            return None;
        }
        let detail = format!("{host} does not promise to return mail that is late by {} s", by.seconds);
        Some(failure::ours(failure::NOT_CAPABLE, detail))
    }

    /// BY, with the seconds that are left.
    fn deliver_by(&self) -> Option<DeliverBy> {
        Some(self.options.deliver_by?.left_at(self.waited, 0))
    }

    /// For these recipients, and what was asked for them, to a host with this offer. SMTPUTF8 only
    /// where something needs it.
    ///
    /// NOTIFY=NEVER is not known to a host without DSN, which may then send a bounce that nobody
    /// asked for. RFC 3461 section 5.2.2 would keep it from that with the null reverse-path. That is
    /// not done: SPF and with it DMARC are checked against the reverse-path, and where the relay has
    /// a return path of its own the bounce comes back to the relay, which needs it to learn of bad
    /// addresses and does not pass it on.
    /// ORCPT is added only where the sender asked for anything: otherwise
    /// the receiver's reports need no more than the address.
    pub(crate) fn envelope<'r>(
        &self,
        recipients: impl Iterator<Item = (&'r str, &'r RecipientDsn)> + Clone,
        offer: &HopOffer,
    ) -> Envelope {
        let any_needs_utf8 = recipients.clone().any(|(address, _)| needs_utf8(address));
        let smtputf8 = self.utf8_header || needs_utf8(self.sender) || any_needs_utf8;
        let form = |address: &str| if smtputf8 { address.to_owned() } else { with_a_labels(address) };
        let MailOptions { dsn: asked, require_tls, .. } = self.options;
        let recipient = |(address, dsn): (&str, &RecipientDsn)| {
            let asks = !asked.is_empty() || !dsn.is_empty();
            let dsn = if offer.dsn && asks { dsn.relayed(address) } else { RecipientDsn::default() };
            EnvelopeRecipient { address: form(address), dsn }
        };
        Envelope {
            sender: form(self.sender),
            recipients: recipients.map(recipient).collect(),
            size: self.size,
            eight_bit: self.eight_bit,
            smtputf8,
            require_tls: *require_tls,
            dsn: if offer.dsn { asked.clone() } else { MessageDsn::default() },
            deliver_by: self.deliver_by().filter(|by| takes_time(offer.deliver_by, *by)),
            // RFC 6710 section 4: that which was assigned, where the sender asked for one.
            priority: self.options.priority.and(MtPriority::new(self.priority)),
        }
    }
}

/// Returns true if a host with this offer of DELIVERBY takes so short a time.
pub(crate) fn takes_time(offer: Option<Option<u32>>, by: DeliverBy) -> bool {
    offer.is_some_and(|least| least.is_none_or(|least| i64::from(by.seconds) >= i64::from(least)))
}

/// Whether the address can only be written under SMTPUTF8: its local part is not ASCII.
fn needs_utf8(address: &str) -> bool {
    let local = address.rsplit_once('@').map_or(address, |(local, _)| local);
    !local.is_ascii() || !with_a_labels(address).is_ascii()
}

/// The address with its domain in A-labels.
fn with_a_labels(address: &str) -> String {
    if address.is_ascii() {
        return address.to_owned();
    }
    match address.rsplit_once('@') {
        Some((local, domain)) => match to_ascii(domain) {
            Ok(ascii) => format!("{local}@{ascii}"),
            Err(_) => address.to_owned(),
        },
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests;
