//! What the relay is told and asks in a simulation: its configuration, and what replies mean.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use parking_lot::Mutex;
use relevo_classify::Rules;
use relevo_delivery::Classify;
use relevo_delivery::settings::{ConfigSource, DeliveryConfig, DeliverySettings, EgressGrants, EgressPool};
use relevo_delivery::shaping::{RulesFile, ShapingRules};
use relevo_mailkit::classification::{Classification, ReceiverReply};
use relevo_resolve::IpFamily;

use super::Way;
use super::habits::RECEIVERS;

/// The pool of the new sender, and its addresses.
pub(super) const POOL: &str = "new";
pub(super) const IPS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2))];
/// Of `[delivery]`.
const RETRY: [Duration; 5] = [
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(900),
    Duration::from_secs(3600),
    Duration::from_secs(14_400),
];
pub(super) const EXPIRE: Duration = Duration::from_secs(5 * 86_400);

/// The classification of the relay, which answers a known reply from memory: there are few.
pub(super) struct KnownReplies {
    rules: Rules,
    /// By host and reply.
    known: Mutex<HashMap<String, Arc<Classification>>>,
}

impl KnownReplies {
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules, known: Mutex::default() }
    }
}

impl Classify for KnownReplies {
    fn classify(&self, reply: &ReceiverReply) -> Option<Arc<Classification>> {
        let key = format!("{:?} {:?} {}", reply.host, reply.code, reply.text);
        let mut known = self.known.lock();
        Some(known.entry(key).or_insert_with(|| Arc::new(self.rules.classify(reply))).clone())
    }
}

struct Config(DeliverySettings);

impl DeliveryConfig for Config {
    fn hostname(&self) -> &'static str {
        "mta1.example"
    }

    fn delivery(&self) -> &DeliverySettings {
        &self.0
    }

    fn grants(&self, _: &str, _: &str) -> Option<Arc<EgressGrants>> {
        Some(Arc::new(EgressGrants { pools: vec![POOL.to_owned()], ..EgressGrants::default() }))
    }
}

/// Never reloaded.
pub(super) struct Fixed(Arc<Config>);

impl Fixed {
    pub(super) fn new(way: Way) -> Result<Self> {
        Ok(Self(Arc::new(Config(settings(way)?))))
    }
}

impl ConfigSource for Fixed {
    fn snapshot(&self) -> (u64, Arc<dyn DeliveryConfig>) {
        (0, self.0.clone())
    }
}

/// The defaults of the relay, and one pool of two addresses.
fn settings(way: Way) -> Result<DeliverySettings> {
    let pool = EgressPool {
        name: POOL.to_owned(),
        source_ipv4: IPS.to_vec(),
        source_ipv6: Vec::new(),
        ehlo: None,
        connections_per_site: None,
        warmup: way == Way::WarmedUp,
        warmup_spill: None,
    };
    let shaping = match way {
        Way::Plain => unlimited()?,
        Way::Shaped | Way::WarmedUp => ShapingRules::default(),
    };
    Ok(DeliverySettings {
        record_conversations: false,
        port: 25,
        ip: IpFamily::Any,
        source_ipv4: None,
        source_ipv6: None,
        ehlo: "mta1.example".to_owned(),
        allow_networks: Vec::new(),
        own_addresses: Vec::new(),
        retry: RETRY.to_vec(),
        expire: EXPIRE,
        delay_report: EXPIRE,
        smarthost: None,
        pools: [(POOL.to_owned(), Arc::new(pool))].into(),
        routes: HashMap::new(),
        connections_per_site: 20,
        max_connections: 500,
        messages_per_connection: 100,
        recipients_per_transaction: 100,
        shaping: Arc::new(shaping),
    })
}

/// Rules that limit no receiver.
fn unlimited() -> Result<ShapingRules> {
    let named = RECEIVERS.iter().map(|habits| ShapingRules::default().provider([habits.mx]));
    let table = |name: &str| {
        format!("[[provider]]\nname = \"{name}\"\nconnections = 1000\nmessages_per_connection = 1000\n")
    };
    let text: String = named.filter(|provider| provider.is_named).map(|p| table(&p.name)).collect();
    let file: RulesFile = toml::from_str(&text).context("rules without limits")?;
    ShapingRules::with(file).map_err(|mistakes| anyhow!("rules without limits: {mistakes:?}"))
}
