//! The ways that TLS reports go: HTTPS and our own queue.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use relevo_fetch::{FetchLimits, FetchRequest, Fetcher, Method};
use relevo_queue::{ItemMeta, NewDelivery, NewItem, Queue, QueueKey, Recipient, SpooledBody};
use relevo_relay::clock::{Clock, IdSource};
use relevo_relay::delivery::{REPORT_SOURCE, Recipe, Signing};
use relevo_relay::settings::SettingsHandle;
use relevo_resolve::Resolve;
use relevo_tls::report::ReportCarrier;

/// Time for a report over HTTPS, and octets of the answer.
const POST_TIME: Duration = Duration::from_secs(30);
const POST_ANSWER: usize = 16 * 1024;
/// How long a report by mail is tried: a day (RFC 8460 section 5.3).
const EXPIRE: i64 = 86_400_000;

/// Takes reports to where they go.
pub(super) struct Carrier {
    pub(super) fetcher: Fetcher,
    pub(super) resolve: Arc<dyn Resolve>,
    pub(super) queue: Arc<dyn Queue>,
    pub(super) settings: SettingsHandle,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: Arc<dyn IdSource>,
    pub(super) from: String,
}

#[async_trait]
impl ReportCarrier for Carrier {
    async fn txt(&self, name: &str) -> Result<Vec<String>, String> {
        self.resolve.txt(name).await.map_err(|error| error.to_string())
    }

    async fn mail(&self, to: &str, bytes: Vec<u8>, id: &str, subject: &str) -> Result<(), String> {
        let domain = to.rsplit_once('@').map(|(_, domain)| domain.to_ascii_lowercase()).unwrap_or_default();
        let now = self.clock.now();
        let id_of_item = self.ids.item_id(now).map_err(|error| error.to_string())?;
        let recipe = Recipe { signing: self.signing(), ..Recipe::default() };
        let item = NewItem {
            id: id_of_item,
            meta: ItemMeta {
                // Nobody's mail, like a bounce; a report that fails is told to nobody.
                tenant: String::new(),
                sender: String::new(),
                accepted_at: now,
                expires_at: now.saturating_add(EXPIRE),
                size: bytes.len() as u64,
                no_bounce: true,
                source: REPORT_SOURCE.to_owned(),
                message_id: format!("<{id}>"),
                subject: subject.to_owned(),
                recipe: recipe.encode().map_err(|error| error.to_string())?,
                ..ItemMeta::default()
            },
            body: SpooledBody::in_memory(bytes),
            deliveries: vec![NewDelivery {
                key: QueueKey::of_domain(domain),
                recipients: vec![Recipient::pending(0, to.to_owned())],
                due_at: now,
                ..NewDelivery::default()
            }],
        };
        self.queue.accept(vec![item], Vec::new()).await.map_err(|error| error.to_string())
    }

    async fn post(&self, url: &str, gzip: &[u8]) -> Result<(), String> {
        let request = FetchRequest {
            method: Method::Post,
            url: url.to_owned(),
            headers: vec![("Content-Type".to_owned(), "application/tlsrpt+gzip".to_owned())],
            body: gzip.to_vec(),
        };
        let limits = FetchLimits { time: POST_TIME, body: POST_ANSWER, cut: true, clear: false };
        match self.fetcher.send(request, limits).await {
            Ok(answer) if answer.status / 100 == 2 => Ok(()),
            Ok(answer) => Err(format!("{url} answered {}", answer.status)),
            Err(error) => Err(format!("{url}: {error}")),
        }
    }
}

impl Carrier {
    /// Signed by the domain of the address that reports come from, if it is a tenant's with keys.
    fn signing(&self) -> Option<Signing> {
        let (_, name) = self.from.rsplit_once('@')?;
        let settings = self.settings.get();
        let domain = settings.directory.domain(&name.to_ascii_lowercase())?;
        (!domain.dkim.is_empty()).then(|| Signing {
            domain: domain.name.clone(),
            selectors: domain.dkim.iter().map(|key| key.selector.clone()).collect(),
            from_field: format!("From: <{}>", self.from).into_bytes(),
        })
    }
}
