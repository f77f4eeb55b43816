//! Control-plane data: who may send, and which plugins are in use. SQLite in the data directory, or
//! PostgreSQL by URL for several nodes. Mail, outcomes and events are the queue's.
//!
//! Each subject has a trait: [`DirectoryStore`], [`PluginStore`]. [`ControlStore`] implements all
//! of them with one SQL text for both databases. `host/store/migrations` has the tables, in a
//! folder for each database.
//!
//! A method that changes something returns when the change is durable. The hot path asks none of
//! this: it reads memory. Each subject has a revision that counts its changes; who keeps a copy
//! compares [`DirectoryStore::directory_revision`] or [`PluginStore::plugin_revision`] to know when
//! it is stale. PostgreSQL tells of changes at once ([`StoreChanges`]).

mod api_keys;
mod audit;
mod changes;
mod control;
mod directory;
mod error;
mod plugins;
mod quotas;
mod shaping;
mod statistics;
mod suppression_rules;
mod suppressions;
mod templates;
#[cfg(test)]
mod testing;
mod tls;
mod topics;
mod transfer;
mod users;
mod webhooks;

pub use api_keys::{ApiKeyRecord, ApiKeySettings, ApiKeyStore, PreviousHash};
pub use audit::{AuditRecord, AuditStore};
pub use changes::{StoreChanges, StoreSubject};
pub use control::{ControlStore, StoreUrl};
pub use directory::{
    CredentialRecord, DirectoryRecords, DirectoryStore, DkimRecord, DomainRecord, DomainSettings,
    QuotaSettings, SuppressionSettings, TenantRecord, TenantSettings, TrackingRecord,
};
pub use error::ControlStoreError;
pub use plugins::{ComponentVersion, PluginData, PluginRecord, PluginRecords, PluginStore};
pub use quotas::{QuotaStore, QuotaUse};
pub use shaping::{ShapingStore, SuspensionRecord, WarmupRecord};
pub use statistics::{
    COUNTERS, Counter, Dimension, SeenCandidate, SeenCredit, StatisticsAge, StatisticsBatch,
    StatisticsCounts, StatisticsGroup, StatisticsQuery, StatisticsRow, StatisticsSite, StatisticsStore,
    StatisticsSum,
};
pub use suppression_rules::{SuppressionBatch, SuppressionCount, SuppressionRuleStore};
pub use suppressions::{
    ALL_STREAMS, SuppressionCause, SuppressionFilter, SuppressionRecord, SuppressionStore,
};
pub use templates::{
    TemplateChange, TemplateContent, TemplateRecord, TemplateStore, TemplateVariable, TemplateVersion,
};
pub use tls::{StsPolicyRecord, TlsStore, TlsTallyRecord};
pub use topics::{TopicChange, TopicRecord, TopicStore};
pub use transfer::{TransferError, TransferFile, Transferred};
pub use users::{
    MAX_SESSIONS, SessionRecord, SessionsAfter, UserLinkRecord, UserRecord, UserSessionStore, UserSettings,
    UserStore, UserWrite,
};
pub use webhooks::{
    PendingWebhooks, StoredSecret, StoredTag, WebhookAttempt, WebhookAttemptFilter, WebhookAttemptPlace,
    WebhookDelivery, WebhookDeliveryFilter, WebhookDeliveryPlace, WebhookDeliveryStore, WebhookEndpoint,
    WebhookEndpointStore, WebhookFailing, WebhookSettings, WebhookSettlement, WebhookSpan, WebhookStatus,
};
