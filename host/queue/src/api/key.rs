//! What a delivery is scheduled by.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use minicbor::{Decode, Encode};

/// The parts of a [`QueueKey`].
///
/// Mail that names no pool and no route waits with all mail to its domain: tenant and sending
/// domain are empty then. Other mail waits by tenant and sending domain, because their
/// configuration says what becomes of a pool or route that is gone when the mail is delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(map)]
pub struct QueueKeyParts {
    /// The recipients' domain in lower case A-labels, or the address literal in brackets.
    #[n(0)]
    pub domain: String,
    /// The owner; empty: any.
    #[n(1)]
    #[cbor(skip_if = "String::is_empty")]
    pub tenant: String,
    /// The configured domain that it is sent from; empty: any.
    #[n(2)]
    #[cbor(skip_if = "String::is_empty")]
    pub sending_domain: String,
    /// The pool that it is sent from; empty: none.
    #[n(3)]
    #[cbor(skip_if = "String::is_empty")]
    pub pool: String,
    /// The route that it is sent over; empty: none.
    #[n(4)]
    #[cbor(skip_if = "String::is_empty")]
    pub route: String,
}

/// What a delivery is scheduled by. Deliveries of one key go to the same hosts from the same
/// addresses. A clone is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueKey(Arc<QueueKeyParts>);

impl QueueKey {
    /// The key of mail to a domain that names no pool and no route.
    #[must_use]
    pub fn of_domain(domain: impl Into<String>) -> Self {
        QueueKeyParts { domain: domain.into(), ..QueueKeyParts::default() }.into()
    }
}

impl Default for QueueKey {
    fn default() -> Self {
        QueueKeyParts::default().into()
    }
}

impl From<QueueKeyParts> for QueueKey {
    fn from(parts: QueueKeyParts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for QueueKey {
    type Target = QueueKeyParts;

    fn deref(&self) -> &QueueKeyParts {
        &self.0
    }
}

impl fmt::Display for QueueKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let QueueKeyParts { domain, tenant, sending_domain, pool, route } = &**self;
        f.write_str(domain)?;
        for (name, value) in
            [("tenant", tenant), ("sending domain", sending_domain), ("pool", pool), ("route", route)]
        {
            if !value.is_empty() {
                write!(f, ", {name} {value}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for QueueKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<C> Encode<C> for QueueKey {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        self.0.as_ref().encode(e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for QueueKey {
    fn decode(d: &mut minicbor::Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        QueueKeyParts::decode(d, ctx).map(Self::from)
    }
}
