//! A relay with two tenants.

use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use std::{io, net::IpAddr};

use argon2::password_hash::{PasswordHasher as _, SaltString};
use argon2::{Algorithm as Argon2Algorithm, Argon2, Params, Version};
use relevo_keys::SigningKey;
use relevo_mailkit::envelope::{Envelope, Recipient};
use relevo_mailkit::model::Algorithm;
use relevo_mailkit::token::{TokenKey, TokenKeys};
use relevo_queue::testing::TestQueue;
use relevo_queue::{ItemId, Millis, SpooledBody};
use relevo_resolve::IpFamily;
use relevo_smtp::server::Credentials;

use super::ScriptedStages;
use crate::clock::{Clock, IdSource};
use crate::copies::Copies;
use crate::directory::DirectoryEntries;
use crate::pipeline::{Origin, Pipeline, PipelineMetrics, Protocol, Submission, SubmissionOptions, Via};
use crate::sandbox::Sandbox;
use crate::settings::{
    Credential, DeliverySettings, DkimKey, Domain, IntakeSettings, Network, PluginServer, ReturnSettings,
    Settings, SettingsHandle, Tenant, Tracking,
};
use crate::trace::{TraceObserver, TraceStep};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Sun, 22 Nov 2026 05:33:41 UTC.
pub(crate) const NOW: Millis = 1_795_325_621_500;

/// Set by hand; both clocks show the same.
pub(crate) struct SetClock(pub(crate) AtomicI64);

impl Clock for SetClock {
    fn now(&self) -> Millis {
        self.0.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.now()).expect("after 1970"))
    }
}

struct Counted(AtomicU8);

impl IdSource for Counted {
    fn item_id(&self, now: Millis) -> io::Result<ItemId> {
        Ok(ItemId::new(now, [self.0.fetch_add(1, Ordering::SeqCst); 10]))
    }
}

/// An observer that remembers the names of the steps.
#[derive(Default)]
pub(crate) struct Steps(Mutex<Vec<&'static str>>);

impl Steps {
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.0.lock().expect("lock").clone()
    }
}

impl TraceObserver for Steps {
    fn step(&self, _: ItemId, step: &TraceStep) {
        self.0.lock().expect("lock").push(step.stage);
    }
}

/// Everything around one pipeline.
pub(crate) struct World {
    pub(crate) queue: Arc<TestQueue>,
    pub(crate) stages: Arc<ScriptedStages>,
    pub(crate) clock: Arc<SetClock>,
    pub(crate) settings: SettingsHandle,
    pub(crate) pipeline: Pipeline,
    pub(crate) copies: Copies,
    /// The steps of submissions.
    pub(crate) steps: Arc<Steps>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// `change` is applied to the settings before anything starts.
    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = settings();
        change(&mut settings);
        let settings = SettingsHandle::new(settings);
        let queue = Arc::new(TestQueue::open().expect("a store"));
        let stages = Arc::new(ScriptedStages::default());
        let steps = Arc::new(Steps::default());
        let sandbox = Sandbox::new(Arc::clone(&stages) as _);
        let clock = Arc::new(SetClock(AtomicI64::new(NOW)));
        let pipeline = Pipeline {
            templates: None,
            queue: Arc::clone(&queue) as _,
            events: Arc::clone(&queue) as _,
            sandbox: sandbox.clone(),
            clock: Arc::clone(&clock) as _,
            ids: Arc::new(Counted(AtomicU8::new(0))),
            metrics: PipelineMetrics::default(),
            observer: Some(Arc::clone(&steps) as _),
            checks: Vec::new(),
            quotas: None,
            recipient_refused: Arc::new(|| {}),
        };
        let copies = Copies::new(Arc::clone(&queue) as _, sandbox, settings.clone(), Arc::clone(&clock) as _);
        Self { queue, stages, clock, settings, pipeline, copies, steps }
    }
}

/// An Ed25519 key; its making is slow only for RSA.
pub(crate) fn key(selector: &str) -> DkimKey {
    let key = SigningKey::generate(Algorithm::Ed25519Sha256).expect("randomness");
    DkimKey { selector: selector.into(), key: Arc::new(key), signature_lifetime: None }
}

/// Cheap parameters: what is tested is not the strength.
pub(crate) fn hash(password: &str) -> String {
    let params = Params::new(8, 1, 1, None).expect("parameters");
    let argon = Argon2::new(Argon2Algorithm::Argon2id, Version::V0x13, params);
    let salt = SaltString::from_b64("c2FsdHNhbHQ").expect("salt");
    argon.hash_password(password.as_bytes(), &salt).expect("hash").to_string()
}

pub(crate) fn credentials(username: &str, password: &str) -> Credentials {
    Credentials { username: username.into(), password: password.into() }
}

fn domain(name: &str, tenant: &str, dkim: Vec<DkimKey>, tracking: Option<Tracking>) -> (String, Arc<Domain>) {
    (
        name.into(),
        Arc::new(Domain {
            name: name.into(),
            tenant: tenant.into(),
            dkim,
            tracking,
            grants: Arc::default(),
            enforce_tls: false,
        }),
    )
}

/// `acme` owns example.com (signed with two keys) and tracked.example (one key, tracking); `other`
/// owns other.example, and may use it on the relay port from 10.1.0.0/16 only, and
/// special.example.com.
pub(crate) fn settings() -> Settings {
    static KEYS: LazyLock<[DkimKey; 3]> = LazyLock::new(|| [key("s1"), key("s2"), key("t1")]);
    let [s1, s2, t1] = KEYS.clone();
    let tracking = Tracking {
        url: "https://t.example.com".into(),
        opens: true,
        clicks: true,
        text_links: false,
        rewrite_signed: false,
    };
    let tenant = |id: &str, networks| {
        (
            id.to_owned(),
            Arc::new(Tenant {
                id: id.into(),
                networks,
                max_held: 2,
                plugins: Vec::new(),
                grants: Arc::default(),
                quota: Default::default(),
                requests_per_second: None,
                suppression: Default::default(),
                keep_content: None,
                dsn: true,
            }),
        )
    };
    let credential = |tenant: &str| (tenant.to_owned(), Credential::with_password(tenant, hash(tenant)));
    let net = |addr: &str, prefix| Network { addr: addr.parse::<IpAddr>().expect("address"), prefix };
    Settings {
        hostname: "mta1.example".into(),
        postmaster: "postmaster@mta1.example".into(),
        intake: IntakeSettings {
            max_message_size: 10_000,
            max_recipients: 3,
            recipients_per_hour: 100,
            strict_headers: false,
            trusted_networks: vec![net("127.0.0.0", 8), net("10.0.0.0", 8)],
        },
        delivery: DeliverySettings {
            port: 25,
            ip: IpFamily::Any,
            source_ipv4: None,
            source_ipv6: None,
            ehlo: "mta1.example".into(),
            allow_networks: Vec::new(),
            own_addresses: Vec::new(),
            retry: vec![Duration::from_secs(60)],
            expire: 5 * DAY,
            delay_report: DAY / 6,
            smarthost: None,
            pools: Default::default(),
            routes: Default::default(),
            connections_per_site: 1,
            max_connections: 1,
            messages_per_connection: 1,
            recipients_per_transaction: 100,
            record_conversations: false,
            shaping: Arc::default(),
        },
        returns: ReturnSettings::default(),
        tracking_keys: TokenKeys(vec![TokenKey { id: "k1".into(), secret: vec![7; 32] }]),
        tracking: crate::settings::TrackingLimits::default(),
        unsubscribe_mailbox: None,
        directory: DirectoryEntries {
            by_id: [tenant("acme", vec![]), tenant("other", vec![net("10.1.0.0", 16)])].into(),
            by_domain: [
                domain("example.com", "acme", vec![s1, s2], None),
                domain("tracked.example", "acme", vec![t1], Some(tracking)),
                domain("other.example", "other", vec![], None),
                domain("special.example.com", "other", vec![], None),
            ]
            .into(),
            by_username: [credential("acme"), credential("other")].into(),
            by_tracking_host: [("t.example.com".to_owned(), "acme".to_owned())].into(),
            ..DirectoryEntries::default()
        }
        .into(),
        plugins: PluginServer::default(),
    }
}

pub(crate) fn forward(address: &str) -> Recipient {
    let domain = address.rsplit('@').next().expect("one").to_owned();
    Recipient::new(address, domain)
}

/// `message` from acme by SMTP, from `a@example.com`, to one recipient.
pub(crate) fn submission(world: &World, message: &str) -> Submission {
    Submission {
        settings: world.settings.get(),
        origin: Origin::Tenant("acme".into()),
        envelope: Envelope {
            sender: "a@example.com".into(),
            sender_domain: "example.com".into(),
            parameters: Vec::new(),
            recipients: vec![forward("b@b.example")],
        },
        via: Via {
            protocol: Protocol::Esmtp { tls: true, auth: true },
            peer: "192.0.2.7".parse().ok(),
            helo: Some("client.example".into()),
            tls: None,
            auth_user: Some("acme".into()),
        },
        body: SpooledBody::in_memory(message.as_bytes().to_vec()),
        options: SubmissionOptions::default(),
        id: None,
        authors_within: None,
    }
}
