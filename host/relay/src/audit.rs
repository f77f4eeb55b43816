//! The audit log: who administered what, and when. It never has secrets.

use std::sync::Arc;
use std::time::Duration;

use relevo_delivery::shaping::{Suspended, SuspensionReport};
use relevo_mailkit::id::ItemId;
use relevo_mailkit::text::escaped;
pub use relevo_store::AuditRecord;
use relevo_store::{AuditStore, ControlStoreError};
use tracing::{error, warn};

use crate::clock::{Clock, IdSource};

/// Octets of each text.
const MAX_TEXT: usize = 500;
/// Acts that are deleted at once.
const PRUNED: u32 = 1_000;
/// Time between two looks for acts that are too old.
const PRUNE: Duration = Duration::from_secs(3_600);

/// An act to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act<'a> {
    /// Id of the tenant whose things it is about. Empty: of no tenant, for operators to see.
    pub tenant: &'a str,
    /// Who does it, such as `key ci` or `cli uid 1000`.
    pub actor: &'a str,
    /// What is done, such as `DELETE /api-keys/{id}`.
    pub action: &'a str,
    /// On what.
    pub subject: &'a str,
    /// `done`, or why it was not.
    pub result: &'a str,
}

/// The audit log of all tenants.
pub struct AuditLog {
    store: Arc<dyn AuditStore>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
}

impl AuditLog {
    /// The log in this store.
    #[must_use]
    pub fn new(store: Arc<dyn AuditStore>, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        Self { store, clock, ids }
    }

    /// Writes that a suspension began or ended: to the log of the tenant that is suspended, or to that
    /// of operators.
    pub async fn write_suspension(&self, actor: &str, action: &str, suspension: &SuspensionReport) {
        let tenant = match suspension.subject.parse() {
            Ok(Suspended::Tenant(tenant)) => tenant,
            _ => String::new(),
        };
        let (tenant, subject) = (tenant.as_str(), suspension.id.as_str());
        self.write(Act { tenant, actor, action, subject, result: "done" }).await;
    }

    /// Writes an act. What was done is not undone when this fails: the relay's log has it.
    pub async fn write(&self, act: Act<'_>) {
        let now = self.clock.now();
        let text = |text: &str| escaped(text, MAX_TEXT);
        let id = match self.ids.item_id(now) {
            Ok(id) => id.to_string(),
            Err(error) => {
                error!(%error, ?act, "an act is missing in the audit log");
                return;
            }
        };
        let record = AuditRecord {
            tenant: act.tenant.to_owned(),
            id,
            at: now,
            actor: text(act.actor),
            action: text(act.action),
            subject: text(act.subject),
            result: text(act.result),
        };
        if let Err(error) = self.store.add_audit(&record).await {
            error!(%error, ?act, "an act is missing in the audit log");
        }
    }

    /// Acts of a tenant, newest first, those before the id `before` if it is not empty.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(
        &self,
        tenant: &str,
        before: &str,
        max: u32,
    ) -> Result<Vec<AuditRecord>, ControlStoreError> {
        self.store.audit(tenant, before, max).await
    }

    /// Acts of all tenants and of operators, newest first, those before the id `before` if there is
    /// one.
    ///
    /// # Errors
    /// The store's.
    pub async fn list_all(
        &self,
        before: Option<ItemId>,
        max: u32,
    ) -> Result<Vec<AuditRecord>, ControlStoreError> {
        let (id, at) = before.map_or((String::new(), i64::MAX), |id| (id.to_string(), id.millis()));
        self.store.all_audit(&id, at, max).await
    }

    /// Deletes acts that are older than `retention`, until it is dropped.
    pub async fn run(&self, retention: Duration) {
        let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        loop {
            let before = self.clock.now().saturating_sub(retention);
            match self.store.prune_audit(before, PRUNED).await {
                Ok(count) if count >= u64::from(PRUNED) => continue,
                Ok(_) => {}
                Err(error) => warn!(%error, "old acts of the audit log cannot be deleted"),
            }
            tokio::time::sleep(PRUNE).await;
        }
    }
}
