//! The seam to the next hop: the network, or a capture inbox, or a test.

use std::sync::Arc;

use async_trait::async_trait;
use relevo_mailkit::source::Source;
use relevo_smtp::client::{
    Auth, Envelope, Failure, Recorder, ServerLimits, Target, TlsState, TransactionResult,
};

use crate::copy::HopAbilities;

/// What a next hop announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HopOffer {
    /// 8BITMIME and SMTPUTF8: decide how the copy is made.
    pub abilities: HopAbilities,
    /// The argument of SIZE (RFC 1870); none when it has no fixed limit.
    pub max_size: Option<u64>,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// REQUIRETLS (RFC 8689).
    pub require_tls: bool,
    /// DELIVERBY (RFC 2852): the smallest number of seconds, `None` inside when none is named.
    pub deliver_by: Option<Option<u32>>,
    /// LIMITS (RFC 9422).
    pub limits: ServerLimits,
}

/// Opens connections to next hops. Called once for each connection, by any number of tasks at once.
#[async_trait]
pub trait Dial: Send + Sync {
    /// Connects, greets with `ehlo`, secures as `target.tls` needs, authenticates. TLS that is
    /// offered and does not come about is a failure with [`Failure::tls`] set, also where it is not
    /// needed. Takes as long as the timeouts of RFC 5321 section 4.5.3.2 allow; dropping the future
    /// gives the connection up.
    ///
    /// # Errors
    /// Facts about what went wrong.
    async fn open(&self, target: &Target, auth: Option<&Auth>, ehlo: &str) -> Result<Box<dyn Hop>, Failure>;

    /// As [`Self::open`], and writes down what is said until [`Hop::record`] is called.
    ///
    /// # Errors
    /// As for [`Self::open`].
    async fn open_recorded(
        &self,
        target: &Target,
        auth: Option<&Auth>,
        ehlo: &str,
        recorder: &Recorder,
    ) -> Result<Box<dyn Hop>, Failure> {
        let _ = recorder;
        self.open(target, auth, ehlo).await
    }

    /// Whether hops lie in the network. False for a capture: its addresses mean nothing, so that
    /// inner addresses and our own are not refused.
    fn is_network(&self) -> bool {
        true
    }
}

/// A connection to a next hop, ready for a transaction.
#[async_trait]
pub trait Hop: Send {
    /// From the last EHLO.
    fn offer(&self) -> HopOffer;

    /// Of the connection.
    fn tls(&self) -> TlsState;

    /// Asked before a connection that stood for a while is used again: whether the other side has
    /// not closed it.
    async fn is_alive(&mut self) -> bool {
        true
    }

    /// From now on what is said is written here.
    fn record(&mut self, recorder: Recorder) {
        let _ = recorder;
    }

    /// One transaction. Has an outcome for each recipient, whatever happens.
    async fn transact(&mut self, envelope: &Envelope, copy: Arc<dyn Source>) -> TransactionResult;

    /// Says goodbye; does not wait long for the answer.
    async fn quit(self: Box<Self>);
}
