//! The network as the next hop.

use std::sync::Arc;

use async_trait::async_trait;
use relevo_mailkit::source::Source;
use relevo_smtp::client::{
    Auth, ClientConfig, Connection, Envelope, Failure, Recorder, Target, Tls, TlsState, TransactionResult,
};

use super::dial::{Dial, Hop, HopOffer};
use crate::copy::HopAbilities;

/// Opens SMTP connections.
#[derive(Debug, Clone)]
pub struct NetworkDial {
    config: ClientConfig,
    tls: Tls,
}

impl NetworkDial {
    /// With these timeouts (`config.ehlo` is not looked at: it comes from the settings in force)
    /// and roots.
    #[must_use]
    pub fn new(config: ClientConfig, tls: Tls) -> Self {
        Self { config, tls }
    }
}

#[async_trait]
impl Dial for NetworkDial {
    async fn open(&self, target: &Target, auth: Option<&Auth>, ehlo: &str) -> Result<Box<dyn Hop>, Failure> {
        let config = ClientConfig { ehlo: ehlo.to_owned(), ..self.config.clone() };
        Ok(Box::new(Connected(Connection::open(target, &config, auth, &self.tls).await?)))
    }

    async fn open_recorded(
        &self,
        target: &Target,
        auth: Option<&Auth>,
        ehlo: &str,
        recorder: &Recorder,
    ) -> Result<Box<dyn Hop>, Failure> {
        let config = ClientConfig { ehlo: ehlo.to_owned(), ..self.config.clone() };
        let recorder = recorder.clone();
        let opened = Connection::open_recorded(target, &config, auth, &self.tls, recorder).await?;
        Ok(Box::new(Connected(opened)))
    }
}

struct Connected(Connection);

#[async_trait]
impl Hop for Connected {
    fn offer(&self) -> HopOffer {
        let abilities = self.0.abilities();
        HopOffer {
            abilities: HopAbilities { eight_bit: abilities.eight_bit, smtputf8: abilities.smtputf8 },
            max_size: abilities.size.flatten(),
            dsn: abilities.dsn,
            require_tls: abilities.require_tls,
            deliver_by: abilities.deliver_by,
            limits: abilities.limits,
        }
    }

    fn tls(&self) -> TlsState {
        self.0.tls()
    }

    async fn is_alive(&mut self) -> bool {
        self.0.is_alive().await
    }

    fn record(&mut self, recorder: Recorder) {
        self.0.record(recorder);
    }

    async fn transact(&mut self, envelope: &Envelope, copy: Arc<dyn Source>) -> TransactionResult {
        self.0.transact(envelope, copy).await
    }

    async fn quit(self: Box<Self>) {
        self.0.quit().await;
    }
}
