//! A configuration for tests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use relevo_resolve::IpFamily;

use crate::settings::{ConfigSource, DeliveryConfig, DeliverySettings, EgressGrants};

/// The same for as long as a test runs.
pub(crate) struct TestConfig {
    pub(crate) delivery: DeliverySettings,
    /// By tenant.
    pub(crate) grants: HashMap<String, Arc<EgressGrants>>,
}

impl TestConfig {
    /// The tenant `acme`, which is granted nothing.
    pub(crate) fn new() -> Self {
        Self { delivery: settings(), grants: [("acme".to_owned(), Arc::default())].into() }
    }
}

impl DeliveryConfig for TestConfig {
    fn hostname(&self) -> &str {
        "mta1.example"
    }

    fn delivery(&self) -> &DeliverySettings {
        &self.delivery
    }

    fn grants(&self, tenant: &str, _: &str) -> Option<Arc<EgressGrants>> {
        self.grants.get(tenant).cloned()
    }
}

/// Never reloaded.
pub(crate) struct Fixed(pub(crate) Arc<TestConfig>);

impl ConfigSource for Fixed {
    fn snapshot(&self) -> (u64, Arc<dyn DeliveryConfig>) {
        (0, self.0.clone())
    }
}

/// Direct delivery by MX.
pub(crate) fn settings() -> DeliverySettings {
    DeliverySettings {
        port: 25,
        ip: IpFamily::Any,
        source_ipv4: None,
        source_ipv6: None,
        ehlo: "mta1.example".into(),
        allow_networks: Vec::new(),
        own_addresses: Vec::new(),
        retry: vec![Duration::from_secs(60)],
        expire: Duration::from_secs(5 * 24 * 3600),
        delay_report: Duration::from_secs(4 * 3600),
        smarthost: None,
        pools: HashMap::new(),
        routes: HashMap::new(),
        connections_per_site: 1,
        max_connections: 1,
        messages_per_connection: 1,
        recipients_per_transaction: 100,
        record_conversations: false,
        shaping: Arc::default(),
    }
}
