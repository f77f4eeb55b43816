//! The network of a simulation: one receiver behind one name, which answers at once or soon.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use relevo_delivery::clock::Clock;
use relevo_delivery::{Copy, CopyError, Dial, Hop, HopAbilities, HopOffer, MakeCopy};
use relevo_mailkit::reply::EnhancedCode;
use relevo_mailkit::source::Source;
use relevo_queue::Lease;
use relevo_resolve::{Addresses, MailHost, MailRoute, Resolve, ResolveError};
use relevo_smtp::client::{
    Auth, DialogueStep, Envelope, Failure, RecipientOutcome, RemoteReply, Target, TlsState, TransactionResult,
};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::sleep;

use super::habits::{Habits, Words};
use super::receiver::{Answer, Receiver};
use super::world::SimulatedClock;

/// To connect, and for a transaction.
const CONNECTING: Duration = Duration::from_millis(150);
const TRANSACTION: Duration = Duration::from_millis(400);
const MX: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
const TTL: Duration = Duration::from_secs(3600);

/// DNS and hosts.
#[derive(Clone)]
pub(super) struct Network {
    pub(super) receiver: Arc<Mutex<Receiver>>,
    pub(super) clock: SimulatedClock,
    /// Is told of complaints.
    pub(super) complaints: UnboundedSender<()>,
}

impl Network {
    fn habits(&self) -> &'static Habits {
        self.receiver.lock().habits
    }
}

#[async_trait]
impl Resolve for Network {
    async fn route(&self, _: &str) -> Result<MailRoute, ResolveError> {
        let name = self.habits().mx.to_owned();
        let host = MailHost { name: name.clone(), preference: 0, addresses: vec![MX], temporary: false };
        Ok(MailRoute { hosts: vec![host], site: name, ttl: TTL, implicit: false })
    }

    async fn addresses(&self, _: &str) -> Result<Addresses, ResolveError> {
        Ok(Addresses { addresses: vec![MX], ttl: TTL })
    }

    async fn txt(&self, _: &str) -> Result<Vec<String>, ResolveError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Dial for Network {
    async fn open(&self, target: &Target, _: Option<&Auth>, _: &str) -> Result<Box<dyn Hop>, Failure> {
        let from = target.source.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        sleep(CONNECTING).await;
        if let Some(words) = self.receiver.lock().connect(from, self.clock.now()) {
            return Err(Failure::of_reply(DialogueStep::Greeting, reply(words, from)));
        }
        Ok(Box::new(Connection { network: self.clone(), from, messages: 0 }))
    }

    fn is_network(&self) -> bool {
        false
    }
}

struct Connection {
    network: Network,
    from: IpAddr,
    messages: u32,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.network.receiver.lock().disconnect(self.from);
    }
}

#[async_trait]
impl Hop for Connection {
    fn offer(&self) -> HopOffer {
        HopOffer { abilities: HopAbilities { eight_bit: true, smtputf8: true }, ..HopOffer::default() }
    }

    fn tls(&self) -> TlsState {
        TlsState::default()
    }

    async fn transact(&mut self, envelope: &Envelope, _: Arc<dyn Source>) -> TransactionResult {
        sleep(TRANSACTION).await;
        self.messages += 1;
        let (mut outcomes, mut reusable) = (Vec::new(), true);
        for (position, recipient) in envelope.recipients.iter().enumerate() {
            let message = message_of(&recipient.address);
            let now = self.network.clock.now();
            let answer = self.network.receiver.lock().attempt(self.from, message, self.messages, now);
            reusable &= !matches!(answer, Answer::Closed(_));
            let outcome = match answer {
                Answer::Accepted { complains } => {
                    if complains {
                        let _ = self.network.complaints.send(());
                    }
                    RecipientOutcome::Delivered(reply(Words(250, [2, 0, 0], "OK"), self.from))
                }
                Answer::Refused(words) | Answer::Closed(words) => {
                    RecipientOutcome::Failed(Failure::of_reply(DialogueStep::Rcpt, reply(words, self.from)))
                }
            };
            outcomes.push((position, outcome));
        }
        TransactionResult { outcomes, reusable }
    }

    async fn quit(self: Box<Self>) {}
}

/// The words as they come over the wire.
fn reply(Words(code, [class, subject, detail], text): Words, from: IpAddr) -> RemoteReply {
    let enhanced = EnhancedCode::new(u8::try_from(class).unwrap_or(4), subject, detail);
    let text = format!("{enhanced} {}", text.replace("{ip}", &from.to_string()));
    RemoteReply { code, enhanced: Some(enhanced), text }
}

/// The address of the recipient of a message.
pub(super) fn recipient_of(message: u64, domain: &str) -> String {
    format!("{message}@{domain}")
}

fn message_of(recipient: &str) -> u64 {
    recipient.split('@').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// A few octets.
pub(super) struct FixedCopy;

#[async_trait]
impl MakeCopy for FixedCopy {
    async fn make(&self, _: &Lease, _: HopAbilities) -> Result<Copy, CopyError> {
        let source = Arc::new(b"Subject: Hello\r\n\r\nHello\r\n".to_vec());
        Ok(Copy { source, eight_bit: false, utf8_header: false })
    }
}
