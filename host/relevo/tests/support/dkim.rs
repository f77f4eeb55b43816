//! Verifies signatures with mail-auth, without DNS.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use mail_auth::common::parse::TxtRecordParser as _;
use mail_auth::common::verify::DomainKey;
use mail_auth::{
    AuthenticatedMessage, DkimResult, MessageAuthenticator, Parameters, ResolverCache, Txt as Record,
};

/// DKIM keys by name. A name that is not here would be looked up.
pub struct Keys(HashMap<Box<str>, Record>);

impl Keys {
    /// Of records by name without a final dot. Those that are no keys are left out.
    pub fn new(records: impl IntoIterator<Item = (String, String)>) -> Self {
        let keys = records.into_iter().filter(|(name, _)| name.contains("._domainkey."));
        let keys = keys.map(|(name, value)| {
            let key = DomainKey::parse(value.as_bytes()).unwrap();
            (format!("{name}.").into_boxed_str(), Record::DomainKey(Arc::new(key)))
        });
        Self(keys.collect())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl ResolverCache<Box<str>, Record> for Keys {
    fn get<Q>(&self, name: &Q) -> Option<Record>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.get(name).cloned()
    }

    fn remove<Q>(&self, _: &Q) -> Option<Record>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }

    fn insert(&self, _: Box<str>, _: Record, _: std::time::Instant) {}
}

/// The verdict about each signature.
pub fn verdicts(message: &str, keys: &Keys) -> Vec<String> {
    let message = AuthenticatedMessage::parse(message.as_bytes()).unwrap();
    let authenticator = MessageAuthenticator::new_doh("https://127.0.0.1:1/");
    let parameters = Parameters::from(&message).with_txt_cache(keys);
    let mut future = Box::pin(authenticator.verify_dkim(parameters));
    let Poll::Ready(outputs) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("a key was looked up");
    };
    let verdict = |result: &DkimResult| match result {
        DkimResult::Pass => "pass".to_owned(),
        other => other.to_string(),
    };
    outputs.iter().map(|output| verdict(output.result())).collect()
}
