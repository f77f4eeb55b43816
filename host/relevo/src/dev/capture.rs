//! The next hop of `relevo dev`: takes every copy into the inbox.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use relevo_http::inbox::{Captured, Inbox, StageLine};
use relevo_mailkit::model::{SignatureVerdict, TrackOptions, Txt, ValidateOptions};
use relevo_mailkit::source::Source;
use relevo_relay::clock::Clock;
use relevo_relay::copies::HopAbilities;
use relevo_relay::delivery::{Dial, Hop, HopOffer};
use relevo_relay::sandbox::{Sandbox, WorkClass};
use relevo_relay::settings::SettingsHandle;
use relevo_runtime::{Fault, Stages};
use relevo_smtp::client::{
    Auth, DialogueStep, Envelope, Failure, RecipientOutcome, RemoteReply, Target, TlsState, TransactionResult,
};

use super::content;
use super::traces::Traces;

/// Opens "connections" to the inbox.
#[derive(Clone)]
pub(crate) struct Capture {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) sandbox: Sandbox,
    pub(crate) settings: SettingsHandle,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) traces: Arc<Traces>,
}

#[async_trait]
impl Dial for Capture {
    async fn open(
        &self,
        _target: &Target,
        _auth: Option<&Auth>,
        _ehlo: &str,
    ) -> Result<Box<dyn Hop>, Failure> {
        Ok(Box::new(self.clone()))
    }

    fn is_network(&self) -> bool {
        false
    }
}

#[async_trait]
impl Hop for Capture {
    fn offer(&self) -> HopOffer {
        let abilities = HopAbilities { eight_bit: true, smtputf8: true };
        HopOffer { abilities, require_tls: true, ..HopOffer::default() }
    }

    fn tls(&self) -> TlsState {
        TlsState::default()
    }

    async fn transact(&mut self, envelope: &Envelope, copy: Arc<dyn Source>) -> TransactionResult {
        let outcome = match self.capture(envelope, copy).await {
            Ok(n) => RecipientOutcome::Delivered(RemoteReply {
                code: 250,
                enhanced: Some((2, 0, 0).into()),
                text: format!("2.0.0 captured as message {n}"),
            }),
            Err(detail) => RecipientOutcome::Failed(Failure {
                try_next_host: false,
                ..Failure::of_host(DialogueStep::EndOfData, (4, 3, 0), detail)
            }),
        };
        let outcomes = (0..envelope.recipients.len()).map(|i| (i, outcome.clone())).collect();
        TransactionResult { outcomes, reusable: true }
    }

    async fn quit(self: Box<Self>) {}
}

impl Capture {
    async fn capture(&self, envelope: &Envelope, copy: Arc<dyn Source>) -> Result<u64, String> {
        let id = copy.label().unwrap_or_default().to_owned();
        let raw = read_all(&*copy)?;
        let began = Instant::now();
        let signatures = self.verify(&copy).await?;
        let passed = signatures.iter().filter(|s| s.pass).count();
        let verified = StageLine {
            name: "verify".to_owned(),
            micros: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
            summary: format!("{passed} of {} DKIM signatures verify", signatures.len()),
        };
        let shown = self.content(&copy, &raw).await?;
        let mut stages = self.traces.of(&id);
        stages.push(verified);
        Ok(self.inbox.add(Captured {
            n: 0,
            id,
            from: envelope.sender.clone(),
            to: envelope.recipients.iter().map(|recipient| recipient.address.clone()).collect(),
            subject: shown.subject,
            received_at: relevo_relay::clock::timestamp(self.clock.now()),
            size: raw.len(),
            signatures,
            stages,
            raw,
            html: shown.html,
            text: shown.text,
            links: shown.links,
        }))
    }

    /// Against the public keys of the configuration, as a receiver would against DNS.
    async fn verify(&self, copy: &Arc<dyn Source>) -> Result<Vec<SignatureVerdict>, String> {
        let settings = self.settings.get();
        let records = settings.directory.domains().flat_map(|domain| {
            domain.dkim.iter().map(|key| Txt {
                name: format!("{}._domainkey.{}", key.selector, domain.name),
                value: key.key.public_record(),
            })
        });
        let records = records.collect();
        let now = self.clock.now() / 1_000;
        let verify = move |stages: &dyn Stages, copy: &dyn Source| stages.verify(records, copy, now);
        let verified = self.sandbox.run(WorkClass::Deliver, "", copy, verify).await;
        verified.map_err(|fault| fault.to_string())
    }

    /// The parts, found by the same component that checks submissions.
    async fn content(&self, copy: &Arc<dyn Source>, raw: &[u8]) -> Result<content::Shown, String> {
        let options = ValidateOptions {
            max_size: u64::MAX,
            max_received: u32::MAX,
            max_depth: 50,
            max_parts: 1_000,
            smtputf8: true,
            hostname: String::new(),
            now: self.clock.now() / 1_000,
            message_id_left: "unused".to_owned(),
            downgrade: false,
            include_headers: false,
            strict_headers: false,
        };
        let look = move |stages: &dyn Stages, copy: &dyn Source| {
            let report = stages.validate(options, copy)?;
            let links = match &report {
                Ok(report) => stages.track(links(), &report.parts, copy)?.links,
                Err(_) => Vec::new(),
            };
            Ok((report, links))
        };
        let looked = self.sandbox.run(WorkClass::Deliver, "", copy, look).await;
        let (report, links) = looked.map_err(|fault: Fault| fault.to_string())?;
        Ok(match report {
            Ok(report) => content::shown(raw, report.subject, &report.parts, links),
            Err(_) => content::shown(raw, String::new(), &[], links),
        })
    }
}

/// Has `track` name the links of a message.
fn links() -> TrackOptions {
    TrackOptions {
        clicks: true,
        opens: false,
        text_links: true,
        url_overhead: 0,
        max_html: 4 << 20,
        max_links: 1_000,
        max_link_length: 8_192,
        reencode: Vec::new(),
        exclude_domains: Vec::new(),
        unsubscribe_length: 0,
    }
}

fn read_all(source: &dyn Source) -> Result<Vec<u8>, String> {
    let mut raw = Vec::new();
    relevo_mailkit::source::for_each_chunk(source, 0, source.size(), |chunk| {
        raw.extend_from_slice(chunk);
        Ok::<(), std::io::Error>(())
    })
    .map_err(|error| error.to_string())?;
    Ok(raw)
}
