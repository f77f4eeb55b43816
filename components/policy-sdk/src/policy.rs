//! What a plugin implements.

use crate::{Decision, Event, Message, Settings};

/// An answer, or a text for the log when the plugin could not decide: a fault, answered by the
/// operator's failure policy. To refuse mail is not an error, see [`Decision::reject`].
pub type Answer = Result<Decision, String>;

/// A policy: the one trait that every plugin implements.
///
/// The value is made with [`Default`] in each new instance, then [configured](Configure). Do not
/// count on it living longer than one call.
pub trait Policy: Default + 'static {
    /// Judges a message by its envelope, header and facts.
    ///
    /// Called once for each message, before anything is queued; the sender is waiting. It must
    /// answer the same when it is asked the same again: everything it may depend on is in `self`,
    /// in `message` and behind [`crate::kv`] and [`crate::clock`].
    ///
    /// # Errors
    /// A text for the log.
    fn decide(&self, message: &Message) -> Answer;
}

/// Takes settings. Name it in [`export!`](crate::export).
pub trait Configure: Policy {
    /// Called once in each new instance before anything else, and by the self-test when a version
    /// is added or its settings change.
    ///
    /// # Errors
    /// What is wrong with the settings: shown to whoever made them, and the version is not
    /// activated.
    fn configure(&mut self, settings: &Settings) -> Result<(), String>;
}

/// Looks at bodies. Name it in [`export!`](crate::export).
pub trait Inspect: Policy {
    /// What reads one body.
    type Inspector: Inspector;

    /// Begins with a message that [`Policy::decide`] has seen and not refused.
    fn inspect(&self, message: &Message) -> Self::Inspector;
}

/// Reads one body.
pub trait Inspector: 'static {
    /// The next octets (1 to 65,536 of them, cut anywhere), as submitted: transfer encodings are
    /// not undone.
    fn push(&mut self, chunk: &[u8]) -> Flow;

    /// After the last chunk. The answer is put together with that of [`Policy::decide`]: for each
    /// recipient the strictest verdict counts.
    ///
    /// # Errors
    /// A text for the log, as for [`Policy::decide`].
    fn finish(self) -> Answer;
}

/// Whether an inspector wants to see more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// The next chunk, please.
    More,
    /// The rest does not matter.
    Enough,
}

/// Hears what became of messages. Name it in [`export!`](crate::export).
pub trait Observe: Policy {
    /// At most 100 events, oldest first, some seconds after the first of them; each at most once.
    fn observe(&self, events: &[Event]);
}
