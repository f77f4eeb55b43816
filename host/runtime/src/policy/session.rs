//! One operation on a guest thread: an instance, the calls in their order, and what came of them.

use std::time::Duration;

use relevo_mailkit::policy::{Decision, Verdict, merge};
use relevo_mailkit::recheck::policy as recheck;
use relevo_mailkit::source::CHUNK;
use relevo_mailkit::text::escaped;
use wasmtime::Store;
use wasmtime::component::ResourceAny;

use super::api::{Batch, Body, CallOutcome, Case, Cost, Data, Export, Judgement, PluginFault};
use super::bindings::policy::exports::relevo::policy::inspect;
use super::bindings::policy::relevo::policy::types;
use super::code::Guests;
use super::convert;
use super::plugin::LoadedPlugin;
use super::warm::Instance;
use crate::call::{Broken, explain};
use crate::state::{GuestState, Moment, TimeUse, enter, guard};

/// Octets of a fault's detail.
const DETAIL: usize = 500;

/// An operation that is running.
struct InstanceRun<'a> {
    plugin: &'a LoadedPlugin,
    store: Store<GuestState>,
    /// None until there is an instance.
    guests: Option<Guests>,
    /// The export that was called last.
    at: Export,
}

/// What the clock shows, what seeds the randomness, and what data there is.
struct Setting {
    now: u64,
    seed: u64,
    data: Data,
}

/// Makes an instance and configures it, which is all.
pub(crate) fn configure(plugin: &LoadedPlugin, now: u64, data: Data) -> CallOutcome<()> {
    let setting = Setting { now, seed: plugin.seed(&[], now), data };
    operate(plugin, setting, true, Moment::now(), |_, _| Ok(()))
}

/// `decide`, and `inspect` where something is left to decide.
pub(crate) fn judge(plugin: &LoadedPlugin, case: Case) -> CallOutcome<Judgement> {
    // The host's part is the plugin's too: from here on.
    let began = Moment::now();
    let Case { message, body, data } = case;
    let seed = plugin.seed(message.id.as_bytes(), message.now);
    let recipients = message.envelope.recipients.len();
    let told = convert::to_message(&message);
    let setting = Setting { now: message.now, seed, data };
    let outcome = operate(plugin, setting, false, began, |session, guests| {
        let mut judgement = session.decide(guests, &told, recipients)?;
        if let Some(inspect) = guests.inspect.as_ref()
            && something_is_left(&judgement.decision, recipients)
        {
            let later = session.inspect(inspect, &told, &body, recipients)?;
            judgement.decision = merge(judgement.decision, later.decision);
            judgement.fault = judgement.fault.or(later.fault);
            recheck::together(&judgement.decision).map_err(|rule| Broken::Answer(rule.to_owned()))?;
        }
        Ok(judgement)
    });
    if let Ok(judgement) = &outcome.result {
        plugin.counters.verdicts(&judgement.decision, recipients);
        judgement.fault.iter().for_each(|fault| plugin.counters.fault(fault));
    }
    outcome
}

/// `observe`, with what it is to see.
pub(crate) fn observe(plugin: &LoadedPlugin, batch: Batch) -> CallOutcome<()> {
    let began = Moment::now();
    let id = batch.events.first().map_or(&[][..], |event| event.message.as_bytes());
    let setting = Setting { now: batch.now, seed: plugin.seed(id, batch.now), data: batch.data };
    let events: Vec<_> = batch.events.into_iter().map(convert::to_event).collect();
    operate(plugin, setting, false, began, |session, guests| {
        let Some(observe) = guests.observe.as_ref() else { return Ok(()) };
        session.enter(Export::Observe);
        Ok(observe.call_observe(&mut session.store, &events)?)
    })
}

fn something_is_left(decision: &Decision, recipients: usize) -> bool {
    decision.verdicts(recipients).any(|v| matches!(v, Verdict::Accept | Verdict::Hold(_)))
}

/// Runs `calls` with an instance, a fresh one if need be or if `fresh` says so. It is kept only
/// after an answer. What is used counts from `began` on.
fn operate<T>(
    plugin: &LoadedPlugin,
    setting: Setting,
    fresh: bool,
    began: Moment,
    calls: impl FnOnce(&mut InstanceRun<'_>, &Guests) -> Result<T, Broken>,
) -> CallOutcome<T> {
    let ticking = plugin.engine.ticker.run();
    let warm = if fresh { None } else { plugin.engine.warm.take(plugin.id) };
    let mut session = InstanceRun::new(plugin, warm, began);
    let result = session.begin(setting, began).and_then(|guests| {
        let answer = calls(&mut session, &guests)?;
        Ok((answer, guests))
    });
    drop(ticking);
    let result = result.map_err(|broken| session.fault(broken));
    let (log, log_dropped) = session.end();
    let TimeUse { cpu, wall } = Moment::now().since(began);
    let cost = Cost { cpu, wall, memory: session.store.data().memory() };
    plugin.engine.spent(cost.cpu);
    plugin.counters.operation(session.at, &cost, log_dropped);
    let InstanceRun { store, .. } = session;
    let result = result.map(|(answer, guests)| {
        plugin.keep(Instance { store, guests });
        answer
    });
    if let Err(fault) = &result {
        plugin.counters.fault(fault);
    }
    CallOutcome { result, cost, log, log_dropped }
}

impl<'a> InstanceRun<'a> {
    fn new(plugin: &'a LoadedPlugin, warm: Option<Instance>, began: Moment) -> Self {
        let (store, guests) = match warm {
            Some(Instance { store, guests }) => (store, Some(guests)),
            None => (plugin.new_store(began), None),
        };
        Self { plugin, store, guests, at: Export::Start }
    }

    /// An instance that is ready to be called.
    fn begin(&mut self, setting: Setting, began: Moment) -> Result<Guests, Broken> {
        let state = self.store.data_mut();
        // What an instance does before it sees a message depends on the plugin alone.
        state.begin(setting.now, self.plugin.start_seed(), began);
        state.granted.begin(setting.data);
        let guests = match self.guests.take() {
            Some(guests) => guests,
            None => {
                guard(&mut self.store);
                let guests = self.plugin.code.instantiate(&mut self.store)?;
                self.configure(&guests)?;
                guests
            }
        };
        let state = self.store.data_mut();
        state.random = setting.seed;
        state.budget.restart();
        Ok(guests)
    }

    fn configure(&mut self, guests: &Guests) -> Result<(), Broken> {
        let Some(configure) = guests.configure.as_ref() else { return Ok(()) };
        self.enter(Export::Configure);
        let answer = configure.call_configure(&mut self.store, &self.plugin.settings)?;
        answer.map_err(Broken::Error)
    }

    fn enter(&mut self, export: Export) {
        self.at = export;
        self.store.data().granted.announce(export);
        enter(&mut self.store);
    }

    fn decide(
        &mut self,
        guests: &Guests,
        message: &types::Message,
        recipients: usize,
    ) -> Result<Judgement, Broken> {
        self.enter(Export::Decide);
        let answer = guests.decide.call_decide(&mut self.store, message)?;
        self.check(answer, recipients)
    }

    fn inspect(
        &mut self,
        inspect: &inspect::Guest,
        message: &types::Message,
        body: &Body,
        recipients: usize,
    ) -> Result<Judgement, Broken> {
        self.store.data_mut().budget.restart();
        let inspector = inspect.inspector();
        self.enter(Export::Inspect);
        let handle = inspector.call_constructor(&mut self.store, message)?;
        self.push(body, |store, chunk| inspector.call_push(store, handle, chunk))?;
        self.enter(Export::Inspect);
        let answer = inspector.call_finish(&mut self.store, handle)?;
        self.forget(handle)?;
        self.check(answer, recipients)
    }

    /// Pushes chunk after chunk until the guest has seen enough.
    fn push(
        &mut self,
        body: &Body,
        mut call: impl FnMut(&mut Store<GuestState>, &[u8]) -> wasmtime::Result<bool>,
    ) -> Result<(), Broken> {
        let size = body.source.size();
        let mut at = body.offset;
        let left = usize::try_from(size.saturating_sub(at)).unwrap_or(usize::MAX);
        let mut buf = vec![0; left.min(CHUNK)];
        while at < size {
            let n = body.source.read_at(at, &mut buf)?;
            if n == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
            at += n as u64;
            self.enter(Export::Inspect);
            if !call(&mut self.store, &buf[..n])? {
                break;
            }
        }
        Ok(())
    }

    /// Gives a handle back, in an instance that will serve others.
    fn forget(&mut self, handle: ResourceAny) -> Result<(), Broken> {
        if self.plugin.keeps_instances() {
            self.enter(Export::Inspect);
            handle.resource_drop(&mut self.store)?;
        }
        Ok(())
    }

    fn check(&self, answer: Result<types::Decision, String>, recipients: usize) -> Result<Judgement, Broken> {
        let decision = convert::decision(answer.map_err(Broken::Error)?);
        let config = &self.plugin.config;
        let checked = recheck::decision(decision, recipients, &config.header_names, config.limits.result)
            .map_err(|rule| Broken::Answer(rule.to_owned()))?;
        let fault = checked.replaced.map(|rule| self.fault(Broken::Answer(rule.to_owned())));
        Ok(Judgement { decision: checked.decision, fault })
    }

    fn fault(&self, broken: Broken) -> PluginFault {
        let (blame, kind, detail) = explain(broken, self.store.data());
        PluginFault { export: self.at, blame, kind, detail: escaped(&detail, DETAIL) }
    }

    fn end(&mut self) -> (Vec<super::LogLine>, u64) {
        let state = self.store.data_mut();
        let printed = std::mem::take(&mut state.output);
        state.granted.end(&printed)
    }
}

/// Ten times what one call may use.
pub(crate) fn ten_times(limit: Duration) -> Duration {
    limit.saturating_mul(10)
}
