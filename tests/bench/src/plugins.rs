//! Tenants' plugins: what one costs its own tenant's mail, what hostile ones cost another tenant's,
//! what an upload costs everybody's, and the memory of a thousand of them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use relevo_test_plugins::distinct;
use serde::Serialize;

use crate::bench::{Bench, compile, note};
use crate::compare::median;
use crate::ledger::{Ledger, Ledgers};
use crate::load::{Load, Schedule, Until};
use crate::message::Message;
use crate::outside::Computing;
use crate::process;
use crate::relay::{Launch, PLAIN, Relay, Setup, TENANTS};
use crate::scene::{Scene, TAG};
use crate::sink::{Behaviour, Observer};
use crate::slices;
use crate::tenants::{Neighbour, Quiet, measure as quiet_beside};
use crate::throughput::Plan;

/// Interleaved pairs of every comparison.
const PAIRS: usize = 5;
/// Pairs of slices without and with a plugin that accepts everything.
const ACCEPTING_PAIRS: usize = 45;
/// The longest load beside hostile plugins: more would add less to the median than another pair.
const SHORT: Duration = Duration::from_secs(3);
/// Messages per second of the tenant whose waiting is measured, and of its hostile neighbour.
const QUIET_RATE: f64 = 100.0;
const HOSTILE_RATE: f64 = 20.0;
/// Messages per second beside which plugins are uploaded.
const MAIL_RATE: f64 = 300.0;
/// The hostile neighbours (`tests/plugins`): those that stop being asked, since they break, and
/// those that may go on, since they keep to their limits.
const HOSTILE: [&str; 13] = [
    "busy",
    "endless-loop",
    "deep-recursion",
    "memory-bomb",
    "memory-copy",
    "trap",
    "header-flood",
    "huge-log",
    "huge-output",
    "non-determinism",
    "slow-kv",
    "override-flood",
    "attribute-flood",
];
/// Whose waiting is measured beside them: a plugin that accepts everything competes for their
/// threads.
const BESIDE: &str = "beside";
/// Tenants with a plugin of their own.
const MANY: u32 = 1000;

/// What plugins cost.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Plugins {
    /// Processor time of a message in us, without and with a plugin that accepts everything.
    pub(crate) accept_all_us: Vec<[f64; 2]>,
    pub(crate) hostile: Vec<Hostile>,
    /// The same tenant without and with as much computing as that of `busy` beside it, in a process
    /// that is not the relay (the generator's).
    pub(crate) outside: Hostile,
    pub(crate) upload: Upload,
    pub(crate) many: Many,
}

/// A quiet tenant beside another one without a plugin, and with a hostile one.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Hostile {
    pub(crate) case: String,
    pub(crate) pairs: Vec<[Quiet; 2]>,
    /// Medians of the 99th percentiles.
    pub(crate) response_p99_ms: [f64; 2],
    pub(crate) to_next_hop_p99_ms: [f64; 2],
    /// Calls that broke in all pairs.
    pub(crate) faults: f64,
}

/// Mail without and with uploads beside it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Upload {
    pub(crate) plugin: String,
    pub(crate) octets: usize,
    pub(crate) uploads: u32,
    pub(crate) pairs: Vec<[Quiet; 2]>,
    pub(crate) response_p99_ms: [f64; 2],
}

/// A relay whose tenants have a plugin each, all of them different, and each was called once.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Many {
    pub(crate) plugins: u32,
    pub(crate) before_kib: u64,
    pub(crate) resident_kib: u64,
    pub(crate) proportional_kib: u64,
}

impl Plugins {
    /// Median of what the plugin adds to the processor time of a message.
    pub(crate) fn accept_all_adds_us(&self) -> f64 {
        median(self.accept_all_us.iter().map(|[without, with]| with - without))
    }

    /// The most that a hostile neighbour moved a 99th percentile beyond what is allowed: 10
    /// percent, or 2 ms where that is more. At most 0 is within.
    pub(crate) fn hostile_excess_ms(&self) -> f64 {
        let beyond = |[without, with]: [f64; 2]| (with - without) - (without * 0.1).max(2.0);
        let of = |h: &Hostile| beyond(h.response_p99_ms).max(beyond(h.to_next_hop_p99_ms));
        self.hostile.iter().map(of).fold(f64::MIN, f64::max)
    }

    /// By how many percent uploads raise the 99th percentile to the 250.
    pub(crate) fn upload_raises_percent(&self) -> f64 {
        let [without, with] = self.upload.response_p99_ms;
        (with / without - 1.0) * 100.0
    }
}

impl Bench<'_> {
    pub(crate) fn plugins(&mut self) -> Result<()> {
        note("tenants' plugins");
        let (quiet, noisy) = (Arc::new(Ledger::new(TAG)?), Arc::new(Ledger::new('n')?));
        let both = Ledgers(vec![Arc::clone(&quiet), Arc::clone(&noisy)]);
        let behaviour = Behaviour::read(&self.options.sink)?;
        let scene = Scene::start(behaviour, quiet, Arc::new(both) as Arc<dyn Observer>)?;
        let directory = self.directory.join("plugins");
        let setup = Setup { directory: &directory, ..self.setup(scene.by_smarthost()) };
        compile(&setup)?;
        let world = World {
            bench: self,
            scene: &scene,
            noisy,
            setup,
            pairs: if self.options.quick { 1 } else { PAIRS },
        };
        let (accept_all_us, hostile, outside, upload) = world.neighbours()?;
        let many = world.many()?;
        self.report.plugins = Some(Plugins { accept_all_us, hostile, outside, upload, many });
        Ok(())
    }
}

struct World<'a> {
    bench: &'a Bench<'a>,
    scene: &'a Scene,
    noisy: Arc<Ledger>,
    setup: Setup<'a>,
    pairs: usize,
}

type Neighbours = (Vec<[f64; 2]>, Vec<Hostile>, Hostile, Upload);

impl World<'_> {
    /// One relay for everything that is compared.
    fn neighbours(&self) -> Result<Neighbours> {
        let (uploaded, octets, class) = self.to_upload()?;
        let sections = |case: fn(&str) -> &str| {
            let mut sections = tenant("accepting", "grants = []\n")
                + &tenant(BESIDE, "grants = []\n")
                + &tenant("uploading", class);
            for name in HOSTILE {
                // What its neighbour without a plugin does is accept.
                let place = format!(
                    "grants = [\"log\", \"clock\", \"kv\"]\non_failure = \"accept\"\nsettings = {{ case = \"{}\" }}\n",
                    case(name)
                );
                sections += &tenant(name, &place);
            }
            sections
        };
        // The self-test would refuse what breaks: it behaves until it is there.
        let relay = self.start(&sections(|_| "none"))?;
        for name in ["accepting", BESIDE] {
            self.add(name, &self.component("accept-all"))?;
        }
        for name in HOSTILE {
            self.add(name, &self.component("hostile"))?;
        }
        relay.stop()?;
        let relay = self.start(&sections(|name| name))?;
        let accept_all = self.accept_all(&relay)?;
        let hostile = HOSTILE.iter().map(|case| self.hostile(&relay, case)).collect::<Result<_>>()?;
        let outside = self.outside(&relay)?;
        let upload = self.upload(&relay, uploaded, &octets)?;
        relay.stop()?;
        Ok((accept_all, hostile, outside, upload))
    }

    fn accept_all(&self, relay: &Relay) -> Result<Vec<[f64; 2]>> {
        note("a plugin that accepts everything");
        let plan =
            Plan { senders: vec![PLAIN, "accepting.test"], ..Plan::new("accept-all", 4, 20, Duration::ZERO) };
        let load = plan.load(relay, &self.scene.ledger, &self.scene.addresses());
        slices::measure(relay, load, if self.bench.options.quick { 1 } else { ACCEPTING_PAIRS })
    }

    /// The mail of a tenant at a fixed rate beside a neighbour's.
    fn beside(&self, relay: &Relay, neighbour: &'static str) -> Result<Quiet> {
        let duration = self.bench.options.duration.min(SHORT);
        let quiet = self.paced("quiet", "beside.test", QUIET_RATE, duration);
        let plan = self.paced("neighbour", neighbour, HOSTILE_RATE, duration);
        let neighbour = Neighbour { ledger: &self.noisy, tag: 'n', plan: &plan };
        quiet_beside(relay, self.scene, &quiet, Some(&neighbour))
    }

    fn paced(&self, name: &str, sender: &'static str, rate: f64, duration: Duration) -> Plan {
        Plan { senders: vec![sender], schedule: Schedule::Open(rate), ..Plan::new(name, 4, 20, duration) }
    }

    fn hostile(&self, relay: &Relay, case: &'static str) -> Result<Hostile> {
        let faults = |relay: &Relay| -> Result<f64> {
            let counted = relay.metrics()?.by_label("relevo_plugin_faults_total", "tenant");
            Ok(counted.get(case).copied().unwrap_or_default())
        };
        let before = faults(relay)?;
        let domain: &'static str = format!("{case}.test").leak();
        let hostile = self.compare(relay, case, || self.beside(relay, domain))?;
        Ok(Hostile { faults: faults(relay)? - before, ..hostile })
    }

    fn outside(&self, relay: &Relay) -> Result<Hostile> {
        let beside = || Computing::AS_BUSY.beside(|| self.beside(relay, TENANTS[0]));
        self.compare(relay, "computing outside", beside)
    }

    fn compare(&self, relay: &Relay, case: &str, beside: impl Fn() -> Result<Quiet>) -> Result<Hostile> {
        let mut pairs = Vec::new();
        for n in 1..=self.pairs {
            note(&format!("beside {case}, pair {n}"));
            pairs.push([self.beside(relay, TENANTS[0])?, beside()?]);
        }
        Ok(Hostile {
            case: case.to_owned(),
            response_p99_ms: [0, 1].map(|side| median(pairs.iter().map(|p| p[side].response_ms.p99))),
            to_next_hop_p99_ms: [0, 1].map(|side| median(pairs.iter().map(|p| p[side].to_next_hop_ms.p99))),
            pairs,
            faults: 0.0,
        })
    }

    /// A plugin uploaded again and again, each time as another one, beside mail that goes on until
    /// at least one is in use.
    fn upload(&self, relay: &Relay, name: &str, component: &[u8]) -> Result<Upload> {
        let uploads = AtomicU32::new(0);
        let quiet = self.paced("mail", TENANTS[1], MAIL_RATE, self.bench.options.duration);
        let alone = |duration| quiet_beside(relay, self.scene, &Plan { duration, ..quiet.clone() }, None);
        let beside = || -> Result<Quiet> {
            let (over, uploaded) = (AtomicBool::new(false), Arc::new(AtomicBool::new(false)));
            let quiet = Plan { told: Some(Arc::clone(&uploaded)), ..quiet.clone() };
            thread::scope(|scope| {
                let uploading = scope.spawn(|| {
                    let mut added = Ok(());
                    while added.is_ok() && !over.load(Ordering::Relaxed) {
                        let number = uploads.fetch_add(1, Ordering::Relaxed);
                        added = self.add_another("uploading", component, number);
                        uploaded.store(true, Ordering::Relaxed);
                    }
                    added
                });
                let seen = quiet_beside(relay, self.scene, &quiet, None);
                over.store(true, Ordering::Relaxed);
                uploading.join().ok().context("the uploads panicked")??;
                seen
            })
        };
        // For as long as beside uploads: what happens by itself only now and then would be in one
        // and not in the other.
        let (mut pairs, mut lasted) = (Vec::new(), quiet.duration);
        for n in 1..=self.pairs {
            note(&format!("uploads of {name}, pair {n}"));
            let first = if n % 2 == 0 { Some(alone(lasted)?) } else { None };
            let began = Instant::now();
            let beside = beside()?;
            lasted = began.elapsed();
            pairs.push([first.map_or_else(|| alone(lasted), Ok)?, beside]);
        }
        Ok(Upload {
            plugin: name.to_owned(),
            octets: component.len(),
            uploads: uploads.into_inner(),
            response_p99_ms: [0, 1].map(|side| median(pairs.iter().map(|p| p[side].response_ms.p99))),
            pairs,
        })
    }

    fn many(&self) -> Result<Many> {
        let plugins = if self.bench.options.quick { 20 } else { MANY };
        let names: Vec<String> = (0..plugins).map(|n| format!("t{n}")).collect();
        let mut sections = String::new();
        for name in &names {
            sections += &tenant(name, "grants = []\n");
        }
        let relay = self.start(&sections)?;
        let before_kib = process::memory(relay.pid())?.resident;
        let component = std::fs::read(self.component("accept-all"))?;
        let file = self.setup.directory.join("many.wasm");
        note(&format!("{plugins} plugins"));
        for (number, name) in (0..).zip(&names) {
            std::fs::write(&file, distinct(&component, number))?;
            self.add(name, &file)?;
        }
        self.scene.ledger.clear();
        let sent = Load {
            to: vec![relay.smtp],
            ledger: Arc::clone(&self.scene.ledger),
            messages: names.iter().map(|name| Message::new(&format!("{name}.test"), 4096)).collect(),
            only: None,
            addresses: self.scene.addresses(),
            recipients: 1,
            sessions: 20,
            until: Until::Messages(plugins.into()),
            schedule: Schedule::Closed,
        }
        .run()?;
        relay.drained(Duration::from_secs(60))?;
        let called = relay.metrics()?.by_label("relevo_plugin_calls_total", "tenant");
        ensure!(
            sent.accepted == u64::from(plugins) && called.len() == names.len(),
            "{} of {plugins} plugins were called",
            called.len()
        );
        let many = Many {
            plugins,
            before_kib,
            resident_kib: process::memory(relay.pid())?.resident,
            proportional_kib: process::proportional(relay.pid())?,
        };
        relay.stop()?;
        Ok(many)
    }

    fn start(&self, sections: &str) -> Result<Relay> {
        let launch = Launch { sections: sections.to_owned(), ..Launch::default() };
        let mut relay = Relay::launch(&self.setup, &launch)?;
        relay.wait_until_it_listens()?;
        Ok(relay)
    }

    /// `relevo plugin add`, as an operator does it.
    fn add(&self, tenant: &str, component: &Path) -> Result<()> {
        let said = Command::new(self.setup.binary)
            .args(["plugin", "add", "--tenant", tenant, "--name", PLACE, "--config"])
            .arg(self.setup.directory.join("relevo.toml"))
            .arg(component)
            .output()?;
        let errors = String::from_utf8_lossy(&said.stderr);
        ensure!(said.status.success(), "relevo plugin add, {}: {errors}", component.display());
        Ok(())
    }

    /// The same as a component that was not there before, from a file that is gone before the disk
    /// has it: what is measured are the relay's.
    fn add_another(&self, tenant: &str, component: &[u8], number: u32) -> Result<()> {
        let file = self.setup.directory.join(format!("upload-{number}.wasm"));
        std::fs::write(&file, distinct(component, number))?;
        self.add(tenant, &file)?;
        Ok(std::fs::remove_file(&file)?)
    }

    /// What `cargo xtask build` left.
    fn component(&self, name: &str) -> PathBuf {
        self.bench.options.plugins.join(format!("{name}.wasm"))
    }

    /// The plugin that is uploaded: its name, its octets, and the place that it needs. One that
    /// takes long to compile, if it was built; but not the one in Python, which takes minutes
    /// beside mail.
    fn to_upload(&self) -> Result<(&'static str, Vec<u8>, &'static str)> {
        let large = "class = \"large\"\ngrants = [\"log\"]\nsettings = { domain = \"c1.test\" }\n";
        let small = "grants = [\"log\", \"clock\", \"kv\"]\n";
        let candidates = [("partners-only-js", large), ("hostile", small)];
        let built = candidates.into_iter().find(|(name, _)| self.component(name).exists());
        let (name, place) = built.with_context(|| {
            format!("no plugins in {}: run `cargo xtask build`", self.bench.options.plugins.display())
        })?;
        Ok((name, std::fs::read(self.component(name))?, place))
    }
}

/// The place for a plugin that every tenant of this part has.
const PLACE: &str = "place";

/// A tenant with a place for a plugin; its domain has a key that is there already.
fn tenant(name: &str, place: &str) -> String {
    let mut text = format!("[[tenant]]\nid = \"{name}\"\n[[tenant.plugin]]\nname = \"{PLACE}\"\n{place}");
    let _ = write!(
        text,
        "[[tenant.domain]]\nname = \"{name}.test\"\n\
         dkim = [{{ selector = \"s1\", algorithm = \"rsa-sha256\", key = \"{PLAIN}.pem\" }}]\n"
    );
    text
}
