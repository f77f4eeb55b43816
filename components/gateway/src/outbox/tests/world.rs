//! A store, a core and a clock, and instances that run step by step.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use relevo_api::relay::{RelayRequest, RelayedEmail, RelayedMessage};
use serde_json::json;

use crate::emails::Surroundings;
use crate::outbox::entry::{EntryName, Kind};
use crate::outbox::{Core, CoreReply, Flushed, Identity, Outbox, OutboxSettings, Sent, Store, StoreError};

pub(super) const MINUTE: u64 = 60_000;
pub(super) const HOUR: u64 = 60 * MINUTE;
pub(super) const ENTRIES: usize = 6;
/// Instances at the same time.
pub(super) const TASKS: usize = 4;

/// How the core is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Up,
    NotReached,
    Unavailable,
    BadGateway,
    /// It takes what it is sent, and its answer is lost.
    Lost,
    /// It refuses every request for good.
    Refuses,
    /// It fails with every request.
    Fails,
    WrongToken,
}

#[derive(Default)]
pub(super) struct Accepted {
    pub(super) digest: String,
    pub(super) at: u64,
}

/// Everything outside of the instances.
pub(super) struct World {
    pub(super) now: Cell<u64>,
    pub(super) random: Cell<u8>,
    pub(super) mode: Cell<Mode>,
    pub(super) stored: RefCell<BTreeMap<String, Vec<u8>>>,
    /// Idempotency keys that the core remembers.
    pub(super) known: RefCell<BTreeMap<String, Accepted>>,
    /// How often the core took a request, by key and digest.
    pub(super) taken: RefCell<BTreeMap<(String, String), usize>>,
    /// Entries that were ever called dead, by id and digest.
    pub(super) dead: RefCell<BTreeSet<(String, String)>>,
    /// Entries that were promised, by id, key and digest.
    pub(super) promised: RefCell<BTreeSet<(String, String, String)>>,
}

impl World {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            now: Cell::new(1_795_325_640_000),
            random: Cell::new(0),
            mode: Cell::new(Mode::Up),
            stored: RefCell::default(),
            known: RefCell::default(),
            taken: RefCell::default(),
            dead: RefCell::default(),
            promised: RefCell::default(),
        })
    }

    pub(super) fn names(&self) -> Vec<EntryName> {
        self.stored.borrow().keys().filter_map(|key| EntryName::parse(key)).collect()
    }

    pub(super) fn count(&self, kind: Kind) -> usize {
        self.names().iter().filter(|name| name.kind == kind).count()
    }
}

impl Surroundings for World {
    fn now(&self) -> u64 {
        self.now.get()
    }

    fn random(&self) -> [u8; 16] {
        self.random.set(self.random.get().wrapping_add(1));
        [self.random.get(); 16]
    }
}

/// Lets other instances run.
pub(super) async fn others() {
    let mut is_first = true;
    std::future::poll_fn(|_| match std::mem::take(&mut is_first) {
        true => Poll::Pending,
        false => Poll::Ready(()),
    })
    .await;
}

/// The store and the core, as an instance sees them.
#[derive(Clone)]
pub(super) struct Outside(pub(super) Rc<World>);

impl Store for Outside {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        others().await;
        Ok(self.0.stored.borrow().get(key).cloned())
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        others().await;
        assert!(value.len() <= 1_000_000 && key.len() < 256);
        let name = EntryName::parse(key).unwrap();
        if name.kind == Kind::Dead {
            self.0.dead.borrow_mut().insert((name.entry.id, name.entry.digest));
        }
        self.0.stored.borrow_mut().insert(key.to_owned(), value.to_vec());
        let kept = self.0.names().into_iter().filter(|name| matches!(name.kind, Kind::Waiting | Kind::Dead));
        let kept: BTreeSet<_> = kept.map(|name| name.entry).collect();
        assert!(kept.len() < ENTRIES + TASKS, "the bound holds but for what is stored at the same time");
        others().await;
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        others().await;
        self.0.stored.borrow_mut().remove(key);
        others().await;
        Ok(())
    }

    async fn keys(&self) -> Result<Vec<String>, StoreError> {
        others().await;
        Ok(self.0.stored.borrow().keys().cloned().collect())
    }
}

impl Core for Outside {
    async fn relay(&self, key: &str, digest: &str, body: Vec<u8>) -> CoreReply {
        others().await;
        let answered = |status: u16| CoreReply::Answered { status, retry_after: None, body: b"{}".to_vec() };
        let request: RelayRequest = serde_json::from_slice(&body).unwrap();
        assert!(!request.emails.is_empty());
        let reply = match self.0.mode.get() {
            Mode::NotReached => CoreReply::NotReached,
            Mode::Unavailable => answered(503),
            Mode::BadGateway => answered(502),
            Mode::Refuses => answered(422),
            Mode::Fails => answered(500),
            Mode::WrongToken => answered(401),
            Mode::Up => self.accept(key, digest),
            Mode::Lost => {
                self.accept(key, digest);
                CoreReply::Unknown
            }
        };
        others().await;
        reply
    }
}

impl Outside {
    fn accept(&self, key: &str, digest: &str) -> CoreReply {
        let (world, now) = (&self.0, self.0.now());
        let mut known = world.known.borrow_mut();
        known.retain(|_, accepted| now - accepted.at < 24 * HOUR);
        match known.get(key) {
            Some(accepted) if accepted.digest != digest => {
                return CoreReply::Answered { status: 409, retry_after: None, body: b"{}".to_vec() };
            }
            Some(_) => {}
            None => {
                *world.taken.borrow_mut().entry((key.to_owned(), digest.to_owned())).or_default() += 1;
                known.insert(key.to_owned(), Accepted { digest: digest.to_owned(), at: now });
            }
        }
        let body = json!({"object": "list", "id": "A", "data": []}).to_string().into_bytes();
        CoreReply::Answered { status: 202, retry_after: None, body }
    }
}

pub(super) fn request(text: &str) -> RelayRequest {
    let message = RelayedMessage {
        sender: "shop@example.com".to_owned(),
        recipients: vec!["ana@example.net".to_owned()],
        message: Some(text.to_owned()),
        ..RelayedMessage::default()
    };
    RelayRequest { emails: vec![RelayedEmail { messages: vec![message], ..RelayedEmail::default() }] }
}

pub(super) fn outbox(world: &Rc<World>) -> Outbox<Outside> {
    let settings = OutboxSettings { entries: ENTRIES, ..OutboxSettings::default() };
    Outbox::new(Outside(Rc::clone(world)), settings)
}

pub(super) fn identity(key: Option<&str>, digest: u8, world: &World) -> Identity {
    Identity::new(key.map(str::to_owned), format!("{digest:02}").repeat(32), world.random())
}

pub(super) async fn send(world: Rc<World>, identity: Identity) -> Sent {
    let outbox = outbox(&world);
    let core = Outside(Rc::clone(&world));
    let sent = outbox.send(&core, &*world, &identity, request("A: b"), true).await.unwrap();
    if matches!(sent, Sent::Stored(_)) {
        let Identity { id, key, digest, .. } = identity;
        world.promised.borrow_mut().insert((id, key, digest));
    }
    sent
}

pub(super) async fn flush(world: Rc<World>, start: usize) -> Flushed {
    let core = Outside(Rc::clone(&world));
    outbox(&world).flush(&core, &*world, start, 50).await.unwrap()
}

pub(super) type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Polls once; true: it has ended.
pub(super) fn poll(task: &mut Task) -> bool {
    task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

pub(super) fn run<T: 'static>(work: impl Future<Output = T> + 'static) -> T {
    let mut work = Box::pin(work);
    loop {
        if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
    }
}
