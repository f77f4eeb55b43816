//! Releases messages of the inbox to real addresses, through a server that the developer names.

use std::path::Path;
use std::sync::Arc;

use anyhow::anyhow;
use async_trait::async_trait;
use relevo_http::inbox::{Captured, Release};
use relevo_mailkit::source::Source;
use relevo_mailkit::text::escaped;
use relevo_smtp::client::{Envelope, Failure, RecipientOutcome};

use crate::sendmail::settings::{self, Settings};
use crate::sendmail::submit::submit;

/// Octets of a reply that are shown.
const MAX_REPLY: usize = 500;

/// The server that released messages go through.
pub(super) struct Smarthost(Settings);

impl Smarthost {
    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong in it.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let settings = settings::read(Some(file), |_| None);
        settings.map(Self).map_err(|mistake| anyhow!("--smarthost: {mistake}"))
    }
}

#[async_trait]
impl Release for Smarthost {
    fn server(&self) -> String {
        format!("{}:{}", self.0.host, self.0.port)
    }

    async fn release(&self, message: &Captured, to: &str) -> Result<String, String> {
        let raw: Arc<dyn Source> = Arc::new(message.raw.clone());
        let sender = self.0.sender.clone().unwrap_or_else(|| message.from.clone());
        let header = message.raw.windows(4).position(|octets| octets == b"\r\n\r\n");
        let header = &message.raw[..header.unwrap_or(message.raw.len())];
        let envelope = Envelope {
            size: message.raw.len() as u64,
            eight_bit: !message.raw.is_ascii(),
            smtputf8: !header.is_ascii() || !sender.is_ascii() || !to.is_ascii(),
            sender,
            recipients: vec![to.into()],
            ..Envelope::default()
        };
        let outcomes = submit(&self.0, envelope, raw).await.map_err(|failure| words(&failure))?;
        match outcomes.into_iter().next() {
            Some((_, RecipientOutcome::Delivered(reply))) => {
                Ok(format!("{} {}", reply.code, escaped(&reply.text, MAX_REPLY)))
            }
            Some((_, RecipientOutcome::Failed(failure))) => Err(words(&failure)),
            _ => Err("the server takes no recipients now".to_owned()),
        }
    }
}

fn words(failure: &Failure) -> String {
    match &failure.reply {
        Some(reply) => format!("{} {}", reply.code, escaped(&reply.text, MAX_REPLY)),
        None => escaped(&failure.detail, MAX_REPLY).to_string(),
    }
}
