//! The thread that writes recordings: reads bodies, redacts, and keeps the segments of all places.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use relevo_mailkit::policy::Message;
use relevo_mailkit::source::for_each_chunk;
use relevo_relay::settings::{PluginSettings, RecordSettings};
use relevo_runtime::policy::{Body, Digest};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::entry::{Answer, KeptBody, MAX_BODY, Recording, fingerprint};
use super::pseudonyms::{KEY, Pseudonyms};
use super::reads::{Noted, Notes};
use super::segments::Segments;
use super::waiting::{Counts, MESSAGE, SHARE, WAITING, Waiting, octets_of};
use crate::digest::parse_digest;
use crate::kv::KvData;

/// Added to the nice value of the writing thread.
const NICE: i32 = 10;

/// Of all places.
pub(crate) struct Recorder {
    sender: SyncSender<Job>,
    waiting: Arc<Waiting>,
    /// By tenant.
    shares: Mutex<HashMap<String, Arc<Waiting>>>,
    /// By the name of their directory.
    counts: Mutex<HashMap<String, Arc<Counts>>>,
}

enum Job {
    Record(Box<Input>),
    /// These places are recorded from now on, and no others.
    Keep(Vec<(String, RecordSettings, Arc<Counts>)>),
    Flush(oneshot::Sender<()>),
}

/// A message and what was said about it.
struct Input {
    message: Arc<Message>,
    /// None: it is not to be recorded. A body keeps its file.
    body: Option<Body>,
    noted: Arc<Noted>,
    answer: Answer,
    tap: Tap,
    octets: usize,
}

/// A place that is recorded.
#[derive(Clone)]
pub(crate) struct Tap {
    recorder: Arc<Recorder>,
    name: String,
    digest: Digest,
    settings: [u8; 8],
    record: RecordSettings,
    share: Arc<Waiting>,
    start: Arc<Notes>,
    pub(crate) counts: Arc<Counts>,
}

impl Recorder {
    /// Starts the thread. It ends when nobody can send it anything any more.
    pub(crate) fn start(root: PathBuf) -> io::Result<Arc<Self>> {
        let (sender, jobs) = sync_channel(WAITING);
        let waiting: Arc<Waiting> = Arc::default();
        let writer =
            Writer { root, wanted: HashMap::new(), open: HashMap::new(), waiting: Arc::clone(&waiting) };
        std::thread::Builder::new().name("plugin-record".to_owned()).spawn(move || writer.run(&jobs))?;
        Ok(Arc::new(Self { sender, waiting, shares: Mutex::default(), counts: Mutex::default() }))
    }

    /// What is to be recorded with these settings. None: nothing.
    pub(crate) fn tap(self: &Arc<Self>, settings: &PluginSettings, digest: &str) -> Option<Tap> {
        let config = &settings.config;
        let name = directory_name(&config.tenant, &config.name);
        Some(Tap {
            recorder: Arc::clone(self),
            digest: parse_digest(digest)?,
            settings: fingerprint(&config.settings),
            record: settings.record?,
            share: self.share(&config.tenant),
            start: Arc::default(),
            counts: self.counts(&name),
            name,
        })
    }

    fn share(&self, tenant: &str) -> Arc<Waiting> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(shares.entry(tenant.to_owned()).or_default())
    }

    fn counts(&self, name: &str) -> Arc<Counts> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(counts.entry(name.to_owned()).or_default())
    }

    /// These places of the configuration are recorded. Recordings of all others are removed. Blocks while much waits.
    pub(crate) fn keep<'a>(&self, places: impl Iterator<Item = &'a Arc<PluginSettings>>) {
        let kept = places.filter_map(|place| {
            let name = directory_name(&place.config.tenant, &place.config.name);
            let counts = self.counts(&name);
            Some((name, place.record?, counts))
        });
        // The thread ends with the process only.
        let _ = self.sender.send(Job::Keep(kept.collect()));
    }

    /// Returns when everything that was recorded before is in files. Blocks while much waits.
    pub(crate) fn flush(&self) -> oneshot::Receiver<()> {
        let (done, written) = oneshot::channel();
        let _ = self.sender.send(Job::Flush(done));
        written
    }
}

/// Names are checked by the configuration: letters, digits, hyphens and underscores. A dot parts them.
pub(crate) fn directory_name(tenant: &str, plugin: &str) -> String {
    format!("{tenant}.{plugin}")
}

impl Tap {
    /// The plugin's data, which notes what is read.
    pub(crate) fn noted(&self, data: &Arc<KvData>) -> Arc<Noted> {
        Arc::new(Noted::new(Arc::clone(data), Arc::clone(&self.start)))
    }

    /// For `relevo plugin list`.
    pub(crate) fn listed(&self) -> Value {
        let (recorded, dropped) = self.counts.read();
        let kept = self.counts.kept.load(Ordering::Relaxed);
        json!({
            "messages": kept.min(self.record.messages),
            "octets": self.counts.octets.load(Ordering::Relaxed),
            "redacted": !self.record.unredacted,
            "recorded": recorded,
            "dropped": dropped,
        })
    }

    /// Passes a message on. Never waits: what is too much is dropped and counted.
    pub(crate) fn record(&self, message: Arc<Message>, body: Body, noted: Arc<Noted>, answer: Answer) {
        let recorder = &self.recorder;
        let body = Some(body).filter(|_| self.record.unredacted);
        let kept =
            body.as_ref().map_or(0, |body| body.source.size().saturating_sub(body.offset).min(MAX_BODY));
        let octets =
            MESSAGE + octets_of(&message) + noted.octets() + usize::try_from(kept).unwrap_or(usize::MAX);
        let counts = &self.counts;
        if !self.share.enter(octets, SHARE) {
            counts.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if !recorder.waiting.enter(octets, 1) {
            self.share.leave(octets);
            counts.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let input = Box::new(Input { message, body, noted, answer, tap: self.clone(), octets });
        if recorder.sender.try_send(Job::Record(input)).is_err() {
            recorder.waiting.leave(octets);
            self.share.leave(octets);
            counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What the thread has.
struct Writer {
    root: PathBuf,
    /// What the configuration in force says, by the name of the directory.
    wanted: HashMap<String, RecordSettings>,
    open: HashMap<String, Open>,
    waiting: Arc<Waiting>,
}

struct Open {
    segments: Segments,
    pseudonyms: Pseudonyms,
    counts: Arc<Counts>,
}

impl Open {
    fn new(directory: &Path, settings: RecordSettings, counts: Arc<Counts>) -> io::Result<Self> {
        let segments = Segments::open(directory, settings)?;
        let pseudonyms = Pseudonyms::new(key(&directory.join("key"))?);
        let open = Self { segments, pseudonyms, counts };
        open.count();
        Ok(open)
    }

    fn count(&self) {
        let (messages, octets) = self.segments.kept();
        self.counts.kept.store(messages, Ordering::Relaxed);
        self.counts.octets.store(octets, Ordering::Relaxed);
    }
}

impl Writer {
    fn run(mut self, jobs: &Receiver<Job>) {
        // Where that is refused, the thread keeps its priority. Elsewhere than on Linux it would be the process's.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::nice(NICE);
        while let Ok(job) = jobs.recv() {
            match job {
                Job::Record(input) => {
                    let (tap, octets) = (input.tap.clone(), input.octets);
                    let written = self.write(*input);
                    self.waiting.leave(octets);
                    tap.share.leave(octets);
                    let count = if written.is_ok() { &tap.counts.written } else { &tap.counts.dropped };
                    count.fetch_add(1, Ordering::Relaxed);
                    let failed_before = tap.counts.failing.swap(written.is_err(), Ordering::Relaxed);
                    if let Err(error) = written
                        && !failed_before
                    {
                        tracing::warn!(place = tap.name, %error, "messages cannot be recorded for replays");
                    }
                }
                Job::Keep(places) => self.keep(places),
                // Nobody may be waiting any more.
                Job::Flush(done) => drop(done.send(())),
            }
        }
    }

    fn write(&mut self, input: Input) -> io::Result<()> {
        let Input { message, body, noted, answer, tap, .. } = input;
        if self.wanted.get(&tap.name) != Some(&tap.record) {
            return Err(io::Error::other("it was judged before the last reload"));
        }
        let open = match self.open.entry(tap.name.clone()) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(none) => {
                none.insert(Open::new(&self.root.join(&tap.name), tap.record, Arc::clone(&tap.counts))?)
            }
        };
        let mut recording = Recording {
            digest: tap.digest,
            settings: tap.settings,
            redacted: false,
            message: Arc::unwrap_or_clone(message),
            body: KeptBody::LeftOut,
            data: noted.reads(),
            answer,
        };
        match body {
            Some(body) => recording.body = kept_body(&body)?,
            None => open.pseudonyms.redact(&mut recording),
        }
        let content = postcard::to_stdvec(&recording).map_err(io::Error::other)?;
        let written = open.segments.append(&content);
        open.count();
        // With the next message it is looked at again what is there. A large recording or a full disk says nothing of that.
        let known = [io::ErrorKind::FileTooLarge, io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        if written.as_ref().is_err_and(|error| !known.contains(&error.kind())) {
            self.open.remove(&tap.name);
        }
        written
    }

    fn keep(&mut self, places: Vec<(String, RecordSettings, Arc<Counts>)>) {
        let wanted: HashMap<_, _> =
            places.iter().map(|(name, settings, _)| (name.clone(), *settings)).collect();
        self.open.retain(|name, _| wanted.get(name) == self.wanted.get(name));
        self.wanted = wanted;
        self.remove_others();
        for (name, settings, counts) in places {
            if !self.open.contains_key(&name) {
                // Also removes what is of the other kind.
                match Open::new(&self.root.join(&name), settings, counts) {
                    Ok(open) => drop(self.open.insert(name, open)),
                    Err(error) => tracing::warn!(place = name, %error, "nothing can be recorded for replays"),
                }
            }
        }
    }

    /// Whatever lies there and is not wanted, file or directory: one that cannot be removed does not keep the others.
    fn remove_others(&self) {
        let failed = |path: &Path, error: io::Error| {
            tracing::warn!(path = %path.display(), %error, "recordings that are not wanted any more cannot be removed");
        };
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) => return failed(&self.root, error),
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    failed(&self.root, error);
                    continue;
                }
            };
            if entry.file_name().to_str().is_some_and(|name| self.wanted.contains_key(name)) {
                continue;
            }
            // A link is removed, not what it leads to.
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let path = entry.path();
            let removed = if is_directory { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            if let Err(error) = removed {
                failed(&path, error);
            }
        }
    }
}

/// All of it, or nothing of one that is too large.
fn kept_body(body: &Body) -> io::Result<KeptBody> {
    let octets = body.source.size().saturating_sub(body.offset);
    if octets > MAX_BODY {
        return Ok(KeptBody::LeftOut);
    }
    let mut content = Vec::with_capacity(usize::try_from(octets).unwrap_or(0));
    for_each_chunk(body.source.as_ref(), body.offset, octets, |chunk| {
        content.extend_from_slice(chunk);
        Ok::<_, io::Error>(())
    })?;
    Ok(KeptBody::Whole(content))
}

/// The key of a place, made at its first recording.
fn key(path: &Path) -> io::Result<[u8; KEY]> {
    match fs::read(path) {
        Ok(key) => match key.try_into() {
            Ok(key) => return Ok(key),
            // Half written; what it was used for cannot be told any more.
            Err(_) => fs::remove_file(path)?,
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut key = [0; KEY];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&key)?;
    Ok(key)
}

#[cfg(test)]
#[path = "recorder_tests.rs"]
mod tests;
