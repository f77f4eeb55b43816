//! The classifier: `classify.wasm` in instances that are kept, with the rules compiled in them.
//!
//! Reading the rules takes milliseconds and a reply takes microseconds, so an instance answers many
//! replies. The component keeps nothing of a reply. An instance that broke is dropped, and so are
//! those with older rules and those whose memory grew.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard, RwLock};
use relevo_mailkit::classification::{Classification, ReceiverReply};
use wasmtime::component::ResourceAny;
use wasmtime::{Engine, Store};

use crate::bindings::classify::ClassifyStage;
use crate::bindings::classify::exports::relevo::mail::classify as wit;
use crate::call::{Broken, explain};
use crate::components::{Embedded, embedded};
use crate::config::{LoadError, RuntimeConfig, StageLimits};
use crate::load::{load_classify, new_store};
use crate::runtime::{StageCounters, report};
use crate::state::{GuestState, Moment, enter};
use crate::ticker::Ticker;
use crate::{Blame, Fault, FaultKind, Stage, StageStats, engine};

/// Octets of memory after which an instance is made anew: the rules take far less.
const MAX_MEMORY: usize = 32 << 20;

/// Says what the words of receivers mean. One for a process.
///
/// A call runs on the thread of the caller. As many run at the same time as the configuration says;
/// others wait for some microseconds.
pub struct Classifier {
    engine: Engine,
    component: crate::bindings::classify::ClassifyStagePre<GuestState>,
    limits: StageLimits,
    ticker: Ticker,
    counters: StageCounters,
    rules: RwLock<Arc<LoadedRules>>,
    slots: Vec<Mutex<Option<Instance>>>,
    next: AtomicUsize,
}

/// Rules that were accepted.
struct LoadedRules {
    /// None: those that the component comes with.
    text: Option<String>,
    version: String,
    generation: u64,
}

/// An instance with the rules compiled in it.
struct Instance {
    store: Store<GuestState>,
    guest: ClassifyStage,
    classifier: ResourceAny,
    generation: u64,
}

/// The first mistake in a file of rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}{message}", line.map(|line| format!("line {line}: ")).unwrap_or_default(), rule.as_ref().map(|rule| format!("{rule}: ")).unwrap_or_default())]
pub struct RulesError {
    /// From 1.
    pub line: Option<u32>,
    /// The rule that it is about.
    pub rule: Option<String>,
    /// The mistake.
    pub message: String,
}

/// Why there are no rules.
#[derive(Debug, thiserror::Error)]
pub enum RulesLoadError {
    /// A mistake in the file.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// The component broke.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The component does not load.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl Classifier {
    /// Compiles the component, or takes it from the cache, and has it read the rules; None: its
    /// own. Blocks for as long as the compiler runs.
    ///
    /// # Errors
    /// A component that does not load, or a mistake in the rules.
    pub fn new(config: &RuntimeConfig, rules: Option<String>) -> Result<Arc<Self>, RulesLoadError> {
        Self::with_component(config, embedded(Stage::Classify), rules)
    }

    pub(crate) fn with_component(
        config: &RuntimeConfig,
        component: Option<Embedded>,
        rules: Option<String>,
    ) -> Result<Arc<Self>, RulesLoadError> {
        let slots = config.calls.max(1);
        // One more: rules are tried before they take the place of others.
        let engine = engine::lean(&config.limits, u32::try_from(slots + 1).unwrap_or(u32::MAX))?;
        let component = load_classify(&engine, config, component)?;
        let ticker = Ticker::start(vec![engine.clone()]).map_err(LoadError::Thread)?;
        let none = LoadedRules { text: None, version: String::new(), generation: 0 };
        let classifier = Self {
            engine,
            component,
            limits: config.limits,
            ticker,
            counters: StageCounters::default(),
            rules: RwLock::new(Arc::new(none)),
            slots: (0..slots).map(|_| Mutex::new(None)).collect(),
            next: AtomicUsize::new(0),
        };
        classifier.load(rules)?;
        Ok(Arc::new(classifier))
    }

    /// Reads other rules; None: those of the component. With a mistake in them the former stay.
    /// Returns their version.
    ///
    /// # Errors
    /// The first mistake, or a component that broke.
    pub fn load(&self, rules: Option<String>) -> Result<String, RulesLoadError> {
        let mut current = self.rules.write();
        let generation = current.generation + 1;
        let mut made = self.guarded(|began| self.make(rules.as_deref(), generation, began))??;
        let version = self.guarded(|began| {
            made.store.data_mut().begin(0, 0, began);
            enter(&mut made.store);
            let classifier = made.guest.relevo_mail_classify().classifier();
            let version = classifier.call_version(&mut made.store, made.classifier);
            version.map_err(|error| fault(Broken::Engine(error), made.store.data()))
        })?;
        *current = Arc::new(LoadedRules { text: rules, version: version.clone(), generation });
        drop(current);
        // The others are made when they are needed.
        for slot in &self.slots {
            *slot.lock() = None;
        }
        if let Some(first) = self.slots.first() {
            *first.lock() = Some(made);
        }
        Ok(version)
    }

    /// The version of the rules in force.
    #[must_use]
    pub fn version(&self) -> String {
        self.rules.read().version.clone()
    }

    /// What a reply means.
    ///
    /// # Errors
    /// The component gave no answer. It is reported to the log.
    pub fn classify(&self, reply: &ReceiverReply) -> Result<Classification, Fault> {
        let rules = self.rules.read().clone();
        let mut slot = self.slot();
        let result = self.guarded(|began| self.answer(&mut slot, &rules, reply.clone(), began));
        if result.is_err() {
            *slot = None;
        }
        result
    }

    /// The cost of calls since the start.
    #[must_use]
    pub fn stats(&self) -> StageStats {
        self.counters.read()
    }

    /// A slot that is free, or else the one whose turn it is.
    fn slot(&self) -> MutexGuard<'_, Option<Instance>> {
        if let Some(free) = self.slots.iter().find_map(Mutex::try_lock) {
            return free;
        }
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.slots.len();
        self.slots[next].lock()
    }

    /// Runs `call` within its limits, counts it, and reports a fault.
    fn guarded<T>(&self, call: impl FnOnce(Moment) -> Result<T, Fault>) -> Result<T, Fault> {
        let began = Moment::now();
        let ticking = self.ticker.run();
        let result = catch_unwind(AssertUnwindSafe(|| call(began)));
        drop(ticking);
        let result = result.unwrap_or_else(|_| {
            let detail = "the host panicked while running it".to_owned();
            Err(Fault { stage: Stage::Classify, blame: Blame::Host, kind: FaultKind::Host, detail })
        });
        self.counters.count(result.is_ok(), Moment::now().since(began).cpu);
        result.inspect_err(report)
    }

    fn answer(
        &self,
        slot: &mut Option<Instance>,
        rules: &LoadedRules,
        reply: ReceiverReply,
        began: Moment,
    ) -> Result<Classification, Fault> {
        let is_current = |instance: &Instance| {
            instance.generation == rules.generation && instance.store.data().memory() <= MAX_MEMORY
        };
        if !slot.as_ref().is_some_and(is_current) {
            // Its place is needed.
            *slot = None;
            let made = self.make(rules.text.as_deref(), rules.generation, began)?;
            // These rules were read before.
            *slot = Some(made.map_err(|error| refused(&error))?);
        }
        let Some(instance) = slot else { return Err(refused(&"no instance")) };
        instance.classify(reply, began)
    }

    /// An instance that has read the rules; or the mistake in them.
    fn make(
        &self,
        rules: Option<&str>,
        generation: u64,
        began: Moment,
    ) -> Result<Result<Instance, RulesError>, Fault> {
        let mut store = new_store(&self.engine, (&self.limits).into(), began);
        store.data_mut().begin(0, 0, began);
        let loaded = self.component.instantiate(&mut store).and_then(|guest| {
            enter(&mut store);
            let loaded = guest.relevo_mail_classify().call_load(&mut store, rules)?;
            Ok((guest, loaded))
        });
        match loaded {
            Ok((guest, Ok(classifier))) => Ok(Ok(Instance { store, guest, classifier, generation })),
            Ok((_, Err(wit::RulesError { line, rule, message }))) => {
                Ok(Err(RulesError { line, rule, message }))
            }
            Err(error) => Err(fault(Broken::Engine(error), store.data())),
        }
    }
}

impl Instance {
    fn classify(&mut self, reply: ReceiverReply, began: Moment) -> Result<Classification, Fault> {
        self.store.data_mut().begin(0, 0, began);
        enter(&mut self.store);
        let classifier = self.guest.relevo_mail_classify().classifier();
        let answer = classifier.call_classify(&mut self.store, self.classifier, &reply.into());
        match answer {
            Ok(answer) => Ok(answer.into()),
            Err(error) => Err(fault(Broken::Engine(error), self.store.data())),
        }
    }
}

fn fault(broken: Broken, state: &GuestState) -> Fault {
    let (blame, kind, detail) = explain(broken, state);
    Fault { stage: Stage::Classify, blame, kind, detail }
}

fn refused(why: &dyn std::fmt::Display) -> Fault {
    let detail = format!("rules that were read before: {why}");
    Fault { stage: Stage::Classify, blame: Blame::Guest, kind: FaultKind::Answer, detail }
}
