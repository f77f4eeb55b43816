//! Whether a host can take a message for a recipient, by what it announced, and the envelope that
//! it gets.

use relevo_mailkit::address::to_ascii;
use relevo_smtp::client::{Envelope, Failure};

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
}

impl OutgoingMessage<'_> {
    /// The same message with another reverse-path, if there is one.
    pub(crate) fn from<'s>(&'s self, reverse_path: Option<&'s str>) -> OutgoingMessage<'s> {
        OutgoingMessage { sender: reverse_path.unwrap_or(self.sender), ..*self }
    }

    /// Why `host` with this offer cannot take it for `recipient`: its SIZE is too small (RFC 1870),
    /// or it lacks 8BITMIME for a copy that could not be made 7bit (RFC 6152), or SMTPUTF8 (RFC
    /// 6531 section 3.2). Looked at here only. ASCII local parts at internationalised domains need
    /// none: the domain has an A-label form.
    pub(crate) fn misfit(&self, recipient: &str, offer: &HopOffer, host: &str) -> Option<Failure> {
        if offer.max_size.is_some_and(|max| max > 0 && self.size > max) {
            let detail = format!("{} octets are more than {host} takes", self.size);
            return Some(failure::ours(failure::TOO_BIG, detail));
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

    /// For these recipients. SMTPUTF8 only where something needs it.
    pub(crate) fn envelope<'r>(&self, recipients: impl Iterator<Item = &'r str> + Clone) -> Envelope {
        let smtputf8 = self.utf8_header || needs_utf8(self.sender) || recipients.clone().any(needs_utf8);
        let form = |address: &str| if smtputf8 { address.to_owned() } else { with_a_labels(address) };
        Envelope {
            sender: form(self.sender),
            recipients: recipients.map(form).collect(),
            size: self.size,
            eight_bit: self.eight_bit,
            smtputf8,
        }
    }
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
