//! Makes the copies.

use std::sync::Arc;

use async_trait::async_trait;
use relevo_mailkit::address::Address;
use relevo_mailkit::model::ValidateOptions;
use relevo_mailkit::recheck;
use relevo_mailkit::reply::EnhancedCode;
use relevo_mailkit::source::Source;
use relevo_mailkit::splice::{NoLinks, Splice, TrackingUrls as _};
use relevo_mailkit::text::printable;
use relevo_mailkit::token::return_path::ReturnClaims;
use relevo_mailkit::token::unsubscribe::Subscription;
use relevo_mailkit::token::{CopyUrls, TokenKeys};
use relevo_mailkit::unsubscribe;
use relevo_queue::{ItemId, ItemMeta, Lease, Queue, Recipient};
use relevo_runtime::{Blame, Fault, FaultKind, Stage, Stages};
use relevo_submission::Cfbl;

use super::prefixed::Prefixed;
use super::signed::SignedOnce;
use super::{Copy, CopyError, HopAbilities, Links, MakeCopy, Recipe};
use crate::clock::Clock;
use crate::sandbox::{Sandbox, WorkClass, in_place_or_blocking};
use crate::settings::{Settings, SettingsHandle};
use crate::trace::{TraceObserver, TraceStep};

/// Makes copies from the store's bytes and the recipes that the pipeline wrote.
pub struct Copies {
    queue: Arc<dyn Queue>,
    pub(super) sandbox: Sandbox,
    pub(super) settings: SettingsHandle,
    pub(super) signed: SignedOnce,
    clock: Arc<dyn Clock>,
    observer: Option<Arc<dyn TraceObserver>>,
}

impl Copies {
    /// Reads bodies from `queue`; asks `settings` for keys each time.
    #[must_use]
    pub fn new(
        queue: Arc<dyn Queue>,
        sandbox: Sandbox,
        settings: SettingsHandle,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { queue, sandbox, settings, signed: SignedOnce::default(), clock, observer: None }
    }

    /// Tells `observer` what each step took and did.
    #[must_use]
    pub fn observed(mut self, observer: Arc<dyn TraceObserver>) -> Self {
        self.observer = Some(observer);
        self
    }

    async fn spliced(
        &self,
        settings: &Settings,
        lease: &Lease,
        body: Arc<dyn Source>,
        recipe: &mut Recipe,
    ) -> Result<Arc<dyn Source>, CopyError> {
        let prepend = own_fields(settings, lease, recipe)?;
        let edits = std::mem::take(&mut recipe.edits);
        let Some(links) = recipe.links.take() else {
            if edits.is_empty() {
                return Ok(Arc::new(Prefixed::new(prepend, body)));
            }
            return splice(body, move |body| Splice::new(prepend, body, edits, &NoLinks)).await;
        };
        let tracked = TrackedCopy::of(settings, lease, links)?;
        splice(body, move |body| {
            tracked.with_urls(|urls, links| {
                let top = [prepend, unsubscribe_fields(links, urls)].concat();
                Splice::new(top, body, edits, urls)
            })
        })
        .await
    }

    /// The copy of these stored octets.
    ///
    /// # Errors
    /// There is no copy.
    pub async fn make_of(
        &self,
        body: Arc<dyn Source>,
        lease: &Lease,
        hop: HopAbilities,
    ) -> Result<Copy, CopyError> {
        let mut recipe = Recipe::decode(&lease.meta.recipe).map_err(|e| CopyError::Host(e.to_string()))?;
        if recipe.utf8_header && !hop.smtputf8 {
            let text = "the header needs SMTPUTF8, which the next host does not offer".into();
            return Err(CopyError::NotConvertible { status: EnhancedCode::new(5, 6, 9), text });
        }
        let (generation, settings) = self.settings.snapshot();
        let tracked = recipe.has_own_copies();
        let began = self.clock.monotonic();
        let mut copy = self.spliced(&settings, lease, body, &mut recipe).await?;
        self.observe(lease, began, "copy", format!("{} octets, edits applied", copy.size()));

        let downgrade = recipe.eight_bit && !hop.eight_bit;
        if downgrade {
            let began = self.clock.monotonic();
            copy = self.downgraded(lease, copy).await?;
            self.observe(lease, began, "validate", "8-bit parts turned into 7bit".into());
        }
        if let Some(signing) = &recipe.signing {
            let began = self.clock.monotonic();
            let reuse = (!tracked).then_some((lease.delivery.id.item, downgrade, generation));
            let fields = self.signatures(&settings, lease, signing, &copy, reuse).await?;
            let lines = fields.split(|c| *c == b'\n').filter(|l| l.starts_with(b"DKIM-Signature:")).count();
            self.observe(lease, began, "dkim", format!("{lines} signatures for {}", signing.domain));
            copy = Arc::new(Prefixed::new(fields.to_vec(), copy));
        }
        Ok(Copy { source: copy, eight_bit: recipe.eight_bit && !downgrade, utf8_header: recipe.utf8_header })
    }

    /// RFC 6152 section 3: what is 8-bit is turned into 7bit, or does not go to this hop.
    async fn downgraded(&self, lease: &Lease, copy: Arc<dyn Source>) -> Result<Arc<dyn Source>, CopyError> {
        let options = ValidateOptions {
            max_size: u64::MAX,
            max_received: u32::MAX,
            max_depth: relevo_submission::MAX_DEPTH,
            max_parts: relevo_submission::MAX_PARTS,
            smtputf8: false,
            hostname: String::new(),
            now: seconds(lease.meta.accepted_at),
            message_id_left: lease.delivery.id.item.to_string(),
            downgrade: true,
            include_headers: false,
            strict_headers: false,
        };
        let validate = move |stages: &dyn Stages, copy: &dyn Source| stages.validate(options, copy);
        let report = match self.sandbox.run(WorkClass::Deliver, &lease.meta.tenant, &copy, validate).await? {
            Ok(report) => report,
            Err(refusal) => {
                let status = refusal.enhanced.parse().unwrap_or(EnhancedCode::new(5, 6, 3));
                return Err(CopyError::NotConvertible { status, text: printable(&refusal.detail, 200) });
            }
        };
        recheck::report(&report, copy.size()).map_err(|rule| bad_answer(Stage::Validate, rule))?;
        splice(copy, move |copy| Splice::new(Vec::new(), copy, report.edits, &NoLinks)).await
    }

    fn observe(&self, lease: &Lease, since: std::time::Duration, stage: &'static str, change: String) {
        if let Some(observer) = &self.observer {
            let took = self.clock.monotonic().saturating_sub(since);
            observer.step(lease.delivery.id.item, &TraceStep { stage, took, changes: vec![change] });
        }
    }
}

#[async_trait]
impl MakeCopy for Copies {
    async fn make(&self, lease: &Lease, hop: HopAbilities) -> Result<Copy, CopyError> {
        let item = lease.delivery.id.item;
        let body = self.queue.body(item).await.map_err(|e| CopyError::Host(e.to_string()))?;
        let body = body.ok_or_else(|| CopyError::Host("the body is gone".into()))?;
        self.make_of(body, lease, hop).await
    }

    /// For mail of a tenant whose sending domain has a return domain. Mail from the null
    /// reverse-path keeps it.
    fn return_path(&self, lease: &Lease, recipient: u32) -> Option<String> {
        let (meta, settings) = (&lease.meta, self.settings.get());
        if !settings.returns.is_on() || meta.sender.is_empty() || meta.tenant.is_empty() {
            return None;
        }
        let signed = Recipe::decode(&meta.recipe).ok().and_then(|recipe| recipe.signing);
        let sending = match &signed {
            Some(signing) => signing.domain.clone(),
            None => Address::parse(&meta.sender).ok()?.domain,
        };
        let domain = settings.returns.domain_for(&settings.directory, &sending)?;
        let claims = ReturnClaims { message: lease.delivery.id.item.0, recipient };
        settings.tracking_keys.mint_return_path(domain, &claims)
    }
}

/// The key that minted the URLs of the first copy, so that a retry is the same; the current one
/// when it was removed.
fn minting_key(settings: &Settings, links: &Links) -> Result<TokenKeys, CopyError> {
    let keys = &settings.tracking_keys.0;
    let key = keys.iter().find(|k| k.id == links.key).or_else(|| keys.first());
    let key = key.ok_or_else(|| CopyError::Host("there is no tracking key".into()))?;
    Ok(TokenKeys(vec![key.clone()]))
}

/// The fields on top of a copy, below those of unsubscribing and the signatures. They are taken out
/// of the recipe.
pub(super) fn own_fields(
    settings: &Settings,
    lease: &Lease,
    recipe: &mut Recipe,
) -> Result<Vec<u8>, CopyError> {
    let mut fields = std::mem::take(&mut recipe.prepend);
    if recipe.dated_at_release {
        let date = relevo_submission::date(lease.meta.released_at());
        fields.extend_from_slice(format!("Date: {date}\r\n").as_bytes());
    }
    if let Some(cfbl) = recipe.cfbl.take() {
        fields.extend_from_slice(&cfbl_feedback_id(settings, lease, &cfbl)?);
    }
    Ok(fields)
}

/// `List-Unsubscribe` and `List-Unsubscribe-Post`; empty for copies without them.
pub(super) fn unsubscribe_fields(links: &Links, urls: &CopyUrls<'_>) -> Vec<u8> {
    let fields = links.list_unsubscribe.as_ref();
    let fields =
        fields.map(|fields| unsubscribe::header_fields(&urls.unsubscribe(), fields.mailbox.as_deref()));
    fields.unwrap_or_default()
}

/// What the URLs of one recipient's copy are made of.
pub(super) struct TrackedCopy {
    keys: TokenKeys,
    links: Links,
    meta: Arc<ItemMeta>,
    item: ItemId,
    recipient: Recipient,
}

impl TrackedCopy {
    /// Of the one recipient of this delivery.
    pub(super) fn of(settings: &Settings, lease: &Lease, links: Links) -> Result<Self, CopyError> {
        let [recipient] = lease.delivery.recipients.as_slice() else {
            return Err(CopyError::Host("a tracked copy is for one recipient".into()));
        };
        let keys = minting_key(settings, &links)?;
        let (meta, item, recipient) = (Arc::clone(&lease.meta), lease.delivery.id.item, recipient.clone());
        Ok(Self { keys, links, meta, item, recipient })
    }

    /// Calls `with` with the URLs.
    pub(super) fn with_urls<T>(&self, with: impl FnOnce(&CopyUrls<'_>, &Links) -> T) -> T {
        let address = Address::parse(&self.recipient.address).map(|address| address.to_string());
        let urls = CopyUrls {
            keys: &self.keys,
            tenant: &self.meta.tenant,
            base_url: &self.links.base_url,
            message: self.item.0,
            recipient: self.recipient.index,
            links: &self.links.table,
            unsubscribe: Subscription {
                address: address.as_deref().unwrap_or(&self.recipient.address),
                topic: &self.meta.labels.topic,
                sender: &self.links.sender,
            },
        };
        with(&urls, &self.links)
    }
}

/// `CFBL-Feedback-ID` of the copy's recipient (RFC 9477 section 3.3): the token of its return path,
/// which has a MAC. Empty without a key.
fn cfbl_feedback_id(settings: &Settings, lease: &Lease, cfbl: &Cfbl) -> Result<Vec<u8>, CopyError> {
    let [recipient] = lease.delivery.recipients.as_slice() else {
        return Err(CopyError::Host("a copy with a CFBL-Feedback-ID is for one recipient".into()));
    };
    let claims = ReturnClaims { message: lease.delivery.id.item.0, recipient: recipient.index };
    let id = settings.tracking_keys.mint_feedback_id(&cfbl.domain, &claims);
    Ok(id.map(|id| format!("CFBL-Feedback-ID: {id}\r\n").into_bytes()).unwrap_or_default())
}

/// Splices in place, or on a thread of the blocking pool if `body` does not lie in memory.
async fn splice(
    body: Arc<dyn Source>,
    make: impl FnOnce(Arc<dyn Source>) -> std::io::Result<Splice> + Send + 'static,
) -> Result<Arc<dyn Source>, CopyError> {
    let splice = in_place_or_blocking(body.is_in_memory(), move || make(body)).await;
    Ok(Arc::new(splice.map_err(|e| CopyError::Host(e.to_string()))?))
}

/// A stage gave an answer that breaks the contract.
pub(crate) fn bad_answer(stage: Stage, rule: impl Into<String>) -> Fault {
    Fault { stage, blame: Blame::Guest, kind: FaultKind::Answer, detail: rule.into() }
}

pub(super) fn seconds(at: relevo_queue::Millis) -> i64 {
    at.div_euclid(1000)
}
