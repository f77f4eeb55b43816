//! What HTTP and the control socket serve.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use relevo_cluster::member::Member;
use relevo_http::inbox::Inbox;
use relevo_http::{
    AdminServices, ApiServices, HttpMetrics, HttpServices, OperationsServices, PanelAccess, Readiness,
    UserAccess,
};
use relevo_queue::Queue;
use relevo_relay::api_keys::ApiKeys;
use relevo_relay::audit::AuditLog;
use relevo_relay::clock::RandomIds;
use relevo_relay::delivery::DeliveryHandle;
use relevo_relay::directory::DirectoryRefresher;
use relevo_relay::domains::Domains;
use relevo_relay::health::DomainHealth;
use relevo_relay::metrics as relay_metrics;
use relevo_relay::queue_admin::QueueAdmin;
use relevo_relay::quota::Quotas;
use relevo_relay::reputation::Reputation;
use relevo_relay::suppressions::Suppressions;
use relevo_relay::tenants::Tenants;
use relevo_relay::tracking::TrackingEndpoint;
use relevo_relay::unsubscribe::UnsubscribeEndpoint;
use relevo_resolve::Resolve;
use relevo_store::{ControlStore, DirectoryStore};

use super::Base;
use crate::control::Control;
use crate::plugin_admin::AuditedPlugins;
use crate::tasks;

/// What tenants administer over HTTP.
pub(super) fn administration(
    base: &Base,
    store: &Arc<ControlStore>,
    (directory, published, health): (&Arc<DirectoryRefresher>, Arc<dyn Resolve>, DomainHealth),
    (quotas, reputation, panel): (&Arc<Quotas>, &Arc<Reputation>, &UserAccess),
) -> AdminServices {
    let (clock, ids) = (base.clock.clone(), Arc::new(RandomIds));
    let keys = ApiKeys::new(store.clone(), Some(directory.clone()), clock.clone(), ids.clone());
    let domains = Domains::new(
        (store.clone(), Some(directory.clone())),
        base.settings.clone(),
        published,
        base.parts.data_dir.clone(),
        (clock.clone(), ids.clone()),
    );
    AdminServices {
        keys: Arc::new(keys),
        domains: Arc::new(domains),
        health,
        reputation: reputation.clone(),
        quotas: quotas.clone(),
        audit: Arc::new(AuditLog::new(store.clone(), clock.clone(), ids)),
        panel: panel.clone(),
        clock,
        limits: base.parts.http.api_limits,
    }
}

/// Tenants, as operators see and change them.
pub(super) fn tenants(
    base: &Base,
    store: &Arc<ControlStore>,
    directory: &Arc<DirectoryRefresher>,
    admin: &AdminServices,
) -> Arc<Tenants> {
    let directory = (store.clone() as Arc<dyn DirectoryStore>, directory.clone());
    Arc::new(Tenants::new(directory, base.settings.clone(), admin.domains.clone(), admin.quotas.clone()))
}

/// What HTTP serves to readers of mail, tenants and people.
pub(super) type PublicServices = (Arc<TrackingEndpoint>, Arc<UnsubscribeEndpoint>, ApiServices, PanelAccess);

/// What HTTP serves. The registry is complete by then.
pub(super) fn http_services(
    base: &Base,
    plugins: AuditedPlugins,
    (tracking, unsubscribe, api, panel): PublicServices,
    (inbox, delivery, tenants): (Option<Arc<Inbox>>, &DeliveryHandle, Arc<Tenants>),
    tasks: tasks::Watch,
    mut registry: Registry,
) -> HttpServices {
    let metrics = HttpMetrics::register(&mut registry);
    let queue: Arc<dyn Queue> = base.store.clone();
    let config = &base.parts.http;
    HttpServices {
        api,
        tracking,
        unsubscribe,
        operations: OperationsServices {
            settings: base.settings.clone(),
            ready: readiness(&queue, tasks, base.cluster.as_ref().map(|cluster| cluster.member.clone())),
            encode_metrics: Arc::new(move || relay_metrics::encode(&registry)),
            metrics_keys: config.metrics_keys.clone(),
            delivery: Some(delivery.clone()),
            queue: queue_admin(base, &plugins.audit, delivery),
            tenants,
            started_at: base.clock.now(),
            clock: base.clock.clone(),
            audit: plugins.audit.clone(),
            plugins: Arc::new(plugins),
            inbox,
        },
        panel,
        trusted_proxies: config.trusted_proxies.clone().into(),
        metrics,
    }
}

/// What the control socket serves.
pub(super) fn control(
    base: &Base,
    plugins: AuditedPlugins,
    delivery: &DeliveryHandle,
    suppressions: Arc<Suppressions>,
) -> Control {
    Control {
        queue: queue_admin(base, &plugins.audit, delivery),
        delivery: delivery.clone(),
        audit: plugins.audit.clone(),
        suppressions,
        plugins,
        member: base.cluster.as_ref().map(|cluster| cluster.member.clone()),
    }
}

/// The queue as operators see and change it.
fn queue_admin(base: &Base, audit: &Arc<AuditLog>, delivery: &DeliveryHandle) -> QueueAdmin {
    QueueAdmin::new(base.all.queue.clone(), base.clock.clone(), Some(delivery.clone()), audit.clone())
}

fn readiness(queue: &Arc<dyn Queue>, tasks: tasks::Watch, member: Option<Arc<Member>>) -> Readiness {
    let queue = queue.clone();
    Arc::new(move || match (tasks.ended(), member.as_ref().and_then(|member| member.hindrance())) {
        (Some(task), _) => Err(format!("{task} has ended")),
        (None, Some(why)) => Err(why),
        (None, None) => queue.ready().map_err(|error| error.to_string()),
    })
}
