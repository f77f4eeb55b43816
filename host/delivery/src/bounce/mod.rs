//! Bounces and other reports: telling a sender what became of recipients (RFC 3464, RFC 5321 section
//! 4.5.5).
//!
//! One message for each item and round, from the null reverse-path. It tells of all recipients that
//! failed in that round, and of those that went to a host that does not report itself. A round is
//! over when no delivery of the item is due or under way. A delay is told once, when its time has
//! come. There is no report about mail from the null reverse-path, about bounces, or to a
//! reverse-path that is tied to no tenant: such recipients count as reported when they are settled.

mod original;
mod report;
mod words;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use relevo_mailkit::address::Address;
use relevo_mailkit::event::{DsnQueued, Event};
use relevo_mailkit::text::escaped;
use relevo_queue::{
    ItemId, ItemMeta, LastAttempt, Millis, NewDelivery, NewEvent, NewItem, QueueKey, Recipient, ReportKey,
    ReportKind, SpooledBody, StoreError, Unreported,
};
use relevo_submission::Recipe;
use tokio::time::sleep;

use crate::classify::of_last;
use crate::failure::EXPIRED;
use crate::shared::DeliveryContext;
use crate::text::remote_text;
use report::{BounceReport, ReportEntry};

/// How long a bounce is tried.
const EXPIRE: Millis = 24 * 3600 * 1000;
/// Bounces that are made at once.
const PAGE: usize = 32;
/// Recipients of the same round mostly fail within this time.
const GATHER: Duration = Duration::from_millis(100);
/// Between two looks while rounds may be about to end, and otherwise.
const SOON: Duration = Duration::from_secs(1);
const SELDOM: Duration = Duration::from_secs(60);
/// Looks after a failure that are made soon.
const SOON_LOOKS: u32 = 60;
/// Octets of an address in an event.
const MAX_ADDRESS: usize = 1_024;
/// The longest bounce whose text is made from a bounce's original subject.
const MAX_SUBJECT: usize = 120;

/// Writes bounces until delivery stops. The first look is for what an earlier run left.
pub(crate) async fn run(shared: Arc<DeliveryContext>) {
    let mut soon = SOON_LOOKS;
    loop {
        if let Err(error) = round(&shared).await {
            shared.counters.store_errors.fetch_add(1, Ordering::Relaxed);
            tracing::error!(target: "relevo::bounce", %error, "bounces could not be written; they are tried again");
            soon = SOON_LOOKS;
            sleep(SOON).await;
        }
        let pause = if soon > 0 { SOON } else { SELDOM };
        soon = soon.saturating_sub(1);
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = shared.unreported.notified() => {
                soon = SOON_LOOKS;
                sleep(GATHER).await;
            }
            () = sleep(pause) => {}
        }
    }
}

/// Every bounce that is due.
async fn round(shared: &DeliveryContext) -> Result<(), StoreError> {
    while !shared.stop.is_cancelled() {
        let page = shared.queue.unreported(shared.now(), PAGE).await?;
        if page.is_empty() {
            return Ok(());
        }
        for (item, meta, due) in page {
            match one(shared, item, &meta, due).await {
                // One of them was settled meanwhile: the next look sees what is due now.
                Err(StoreError::LeaseLost(id)) => {
                    tracing::debug!(target: "relevo::bounce", ?id, "a report is not due any more");
                }
                done => done?,
            }
        }
    }
    Ok(())
}

async fn one(
    shared: &DeliveryContext,
    item: ItemId,
    meta: &ItemMeta,
    due: Vec<Unreported>,
) -> Result<(), StoreError> {
    let names: Vec<ReportKey> = due.iter().map(Unreported::key).collect();
    let Some(domain) = destination(meta) else {
        return shared.queue.report(item, names, None, Vec::new()).await;
    };
    let recipients: Vec<(ReportKey, Recipient)> =
        due.iter().map(|u| (u.key(), u.recipient.clone())).collect();
    let bounce = compose(shared, item, meta, due, domain).await?;
    tracing::info!(
        target: "relevo::bounce",
        id = %bounce.id, about = %item, to = %remote_text(&meta.sender), recipients = names.len(), "bounce"
    );
    let (id, at) = (bounce.id, bounce.meta.accepted_at);
    let event = |(report, recipient): &(ReportKey, Recipient)| {
        let queued = DsnQueued {
            delivery_id: report.delivery.to_string(),
            recipient: escaped(&recipient.address, MAX_ADDRESS),
            recipient_index: recipient.index,
            action: report.kind.name().to_owned(),
            dsn_id: id.to_string(),
        };
        NewEvent::about(item, meta, at, Event::DsnQueued(queued))
    };
    let events: Vec<NewEvent> = recipients.iter().map(event).collect();
    shared.queue.report(item, names, Some(bounce), events.clone()).await?;
    shared.tell_plugins([(meta, &events[..])]);
    Ok(())
}

/// Where a bounce about this goes; none when there is to be none.
fn destination(meta: &ItemMeta) -> Option<String> {
    if meta.no_bounce || meta.is_bounce || meta.sender.is_empty() {
        return None;
    }
    match Address::parse(&meta.sender) {
        Ok(address) => Some(address.domain),
        Err(error) => {
            tracing::warn!(target: "relevo::bounce", %error, "no bounce can be sent to this reverse-path");
            None
        }
    }
}

async fn compose(
    shared: &DeliveryContext,
    item: ItemId,
    meta: &ItemMeta,
    due: Vec<Unreported>,
    domain: String,
) -> Result<NewItem, StoreError> {
    let (_, settings) = shared.settings();
    let now = shared.now();
    let id = shared.ids.item_id(now).map_err(|e| StoreError::Io(e.to_string()))?;
    // It is queued by one commit with its message.
    let id = id.in_shard(item.shard());
    let has_failed = due.iter().any(|u| u.kind == ReportKind::Failed);
    let original = original::returned(shared, item, meta, has_failed).await;
    let is_late = meta.options.deliver_by.is_some_and(|by| by.ends_at(meta.accepted_at) <= now);
    let entry_of = |u: Unreported| ReportEntry {
        classification: match u.kind {
            ReportKind::Relayed => None,
            ReportKind::Failed | ReportKind::Delayed => of_last(&*shared.classify, &u.last, &[]),
        },
        kind: u.kind,
        why: match u.kind {
            // RFC 2852 section 4.1.4: the time that the sender gave is over.
            ReportKind::Delayed if is_late => LastAttempt { status: EXPIRED.to_string(), ..u.last },
            _ => u.last,
        },
        address: u.recipient.address,
        orcpt: u.recipient.dsn.orcpt,
    };
    let entries = due.into_iter().map(entry_of).collect();
    let report =
        BounceReport { id, item, hostname: settings.hostname(), meta, entries, original: &original, now };
    let message = report.compose();
    let utf8_header = !meta.sender.is_ascii();
    let recipe = Recipe { utf8_header, eight_bit: utf8_header, ..Recipe::default() };
    Ok(NewItem {
        id,
        meta: ItemMeta {
            // Nobody's mail: it takes no tenant's turns and is in no tenant's events.
            tenant: String::new(),
            sender: String::new(),
            accepted_at: now,
            expires_at: now.saturating_add(EXPIRE),
            size: message.len() as u64,
            is_bounce: true,
            no_bounce: true,
            source: "bounce".to_owned(),
            message_id: report.message_id(),
            subject: report.subject().chars().take(MAX_SUBJECT).collect(),
            recipe: recipe.encode().map_err(|e| StoreError::Io(e.to_string()))?,
            ..ItemMeta::default()
        },
        body: SpooledBody::in_memory(message),
        deliveries: vec![NewDelivery {
            key: QueueKey::of_domain(domain),
            recipients: vec![Recipient::pending(0, &*meta.sender)],
            due_at: now,
            ..NewDelivery::default()
        }],
    })
}
