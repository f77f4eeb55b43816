//! Tests of a policy without a relay and without WebAssembly: build a message, answer its host
//! calls, look at the decision.
//!
//! ```
//! use relevo_policy_sdk::testkit::{Kit, message};
//! use relevo_policy_sdk::{Answer, Decision, Message, Policy, Verdict, kv};
//!
//! #[derive(Default)]
//! struct Paused;
//!
//! impl Policy for Paused {
//!     fn decide(&self, message: &Message) -> Answer {
//!         let key = format!("paused:{}", message.envelope.sender_domain);
//!         let paused = kv::get(&key).map_err(|e| e.to_string())?.is_some();
//!         Ok(if paused { Decision::hold("sending is paused") } else { Decision::accept() })
//!     }
//! }
//!
//! let kit = Kit::<Paused>::new().kv("paused:example.com", "1");
//! let shop = message("Subject: Hello\n\nHello.\n").sender("shop@example.com").build();
//! assert_eq!(kit.decide(&shop).unwrap().verdict, Verdict::Hold("sending is paused".into()));
//! ```
//!
//! The kit holds answers to the same rules as the relay does: one that breaks a rule is a
//! [`Fault`]. It has no limits of time and memory, and [`kv`](crate::kv), [`clock`](crate::clock)
//! and [`log`](crate::log) panic outside of it.

mod check;
pub(crate) mod fakes;
mod message;

use std::fmt;
use std::sync::{Arc, Mutex};

pub use self::check::check;
use self::fakes::Fakes;
pub use self::message::{MessageBuilder, NOW, body, event, message};
use crate::__private::Slot;
use crate::kv;
use crate::log::Level;
use crate::{Answer, Attribute, Configure, Decision, Event, Inspect, Message, Observe, Policy};

/// Octets of a chunk that an inspector is pushed, at most.
pub const CHUNK: usize = 65_536;

/// Why an answer would not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The plugin could not decide.
    Error(String),
    /// The answer breaks this rule.
    Answer(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(text) => write!(f, "the plugin could not decide: {text}"),
            Self::Answer(rule) => write!(f, "the answer breaks a rule: {rule}"),
        }
    }
}

impl std::error::Error for Fault {}

/// A policy in one instance, and a host for it.
pub struct Kit<P> {
    slot: Slot<P>,
    fakes: Arc<Mutex<Fakes>>,
}

impl<P: Policy> Kit<P> {
    /// `log` and `clock` are granted; `kv` is once there is data.
    #[must_use]
    pub fn new() -> Self {
        Self { slot: Slot::empty(), fakes: Arc::default() }
    }

    /// Grants `kv` and puts a value there.
    #[must_use]
    pub fn kv(self, key: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.set(|fakes| {
            fakes.kv.get_or_insert_default().insert(key.into(), value.as_ref().to_vec());
        })
    }

    /// Grants `kv`, with nothing in it unless there is already.
    #[must_use]
    pub fn empty_kv(self) -> Self {
        self.set(|fakes| {
            fakes.kv.get_or_insert_default();
        })
    }

    /// Every lookup fails like this.
    #[must_use]
    pub fn kv_error(self, error: kv::Error) -> Self {
        self.set(|fakes| {
            fakes.kv.get_or_insert_default();
            fakes.kv_error = Some(error);
        })
    }

    /// What [`clock::now`](crate::clock::now) says in `configure` and `observe`; [`NOW`] unless
    /// set. In the calls about a message it is the message's time.
    #[must_use]
    pub fn now(self, milliseconds: u64) -> Self {
        self.set(|fakes| fakes.now = milliseconds)
    }

    /// Configures the instance.
    ///
    /// # Errors
    /// What the policy says is wrong with them.
    pub fn settings<'a>(self, settings: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, String>
    where
        P: Configure,
    {
        let pairs = settings.into_iter();
        let list = pairs.map(|(n, v)| Attribute { name: n.to_owned(), value: v.to_owned() }).collect();
        let now = fakes::lock(&self.fakes).now;
        fakes::during(&self.fakes, now, || self.slot.configure(list))?;
        Ok(self)
    }

    /// Asks for a decision.
    ///
    /// # Errors
    /// When the relay would answer by the failure policy instead.
    pub fn decide(&self, message: &Message) -> Result<Decision, Fault> {
        let answer = fakes::during(&self.fakes, message.now, || self.slot.decide(message));
        checked(message, answer)
    }

    /// Has the body inspected, in chunks of [`CHUNK`] octets.
    ///
    /// # Errors
    /// As for [`Self::decide`].
    pub fn inspect(&self, message: &Message, body: &[u8]) -> Result<Decision, Fault>
    where
        P: Inspect,
    {
        self.inspect_in_chunks(message, body.chunks(CHUNK))
    }

    /// Has the body inspected in these chunks: a text that is sought may be cut anywhere.
    ///
    /// # Errors
    /// As for [`Self::decide`].
    pub fn inspect_in_chunks<'a>(
        &self,
        message: &Message,
        chunks: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Decision, Fault>
    where
        P: Inspect,
    {
        let answer = fakes::during(&self.fakes, message.now, || {
            let body = self.slot.inspect(message);
            // Taken only as far as it is wanted, as the relay does.
            chunks.into_iter().all(|chunk| body.push(chunk));
            body.finish()
        });
        checked(message, answer)
    }

    /// Tells of outcomes.
    pub fn observe(&self, events: &[Event])
    where
        P: Observe,
    {
        let now = fakes::lock(&self.fakes).now;
        fakes::during(&self.fakes, now, || self.slot.observe(events));
    }

    /// The lines that were logged since the last time.
    #[must_use]
    pub fn logged(&self) -> Vec<(Level, String)> {
        std::mem::take(&mut fakes::lock(&self.fakes).log)
    }

    fn set(self, change: impl FnOnce(&mut Fakes)) -> Self {
        change(&mut fakes::lock(&self.fakes));
        self
    }
}

impl<P: Policy> Default for Kit<P> {
    fn default() -> Self {
        Self::new()
    }
}

fn checked(message: &Message, answer: Answer) -> Result<Decision, Fault> {
    let decision = answer.map_err(Fault::Error)?;
    check(message, &decision).map_err(Fault::Answer)?;
    Ok(decision)
}
