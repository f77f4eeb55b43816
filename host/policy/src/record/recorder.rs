//! The thread that writes recordings: it reads bodies, redacts, and keeps the logs of all plugins.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use parking_lot::Mutex;
use relevo_mailkit::policy::Message;
use relevo_mailkit::source::for_each_chunk;
use relevo_relay::settings::{PluginSettings, RecordSettings};
use relevo_runtime::policy::Body;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::entry::{KeptBody, MAX_BODY, RecordedAnswer, Recording, fingerprint};
use super::log::{RecordingLog, StoredRecording, read_recordings};
use super::pseudonyms::{KEY, Pseudonyms};
use super::reads::{RecordedReads, SharedReads};
use crate::kv::KvData;

/// Messages that wait to be written. Further ones are dropped.
const WAITING: usize = 256;
/// What a message takes while it waits, in KiB, beside its recipients, body and reads.
const MESSAGE: u64 = 64;
/// KiB that messages may take while they wait: all together, and those of one plugin, so that
/// others are recorded too.
const ALL_KIB: usize = WAITING * 64;
const PLUGIN_KIB: usize = ALL_KIB / 4;
/// Added to the nice value of the writing thread.
const NICE: i32 = 10;

/// Passes messages on to the writing thread.
pub(crate) struct Recorder {
    sender: SyncSender<RecorderCommand>,
    room: Arc<Semaphore>,
    /// By the name of their directory.
    plugins: Mutex<HashMap<String, Arc<Progress>>>,
}

enum RecorderCommand {
    Record(Box<Input>),
    /// These plugins are recorded from now on, and no others.
    Keep(Vec<(String, RecordSettings, Arc<Progress>)>),
    /// The recordings of a plugin, with all that was recorded before.
    Read(String, RecordSettings, oneshot::Sender<io::Result<Vec<StoredRecording>>>),
    Flush(oneshot::Sender<()>),
}

/// A message and what was said about it.
struct Input {
    message: Arc<Message>,
    /// None: it is not to be recorded. A body keeps its file.
    body: Option<Body>,
    reads: Option<Arc<RecordedReads>>,
    answer: RecordedAnswer,
    handle: RecordingHandle,
    /// Given back when it was written.
    _room: [OwnedSemaphorePermit; 2],
}

/// What became of the recordings of a plugin since the start.
#[derive(Debug)]
struct Progress {
    room: Arc<Semaphore>,
    written: AtomicU64,
    dropped: AtomicU64,
    /// Messages on disk now, and octets.
    messages: AtomicUsize,
    octets: AtomicU64,
    /// The last one could not be written: said once, not for each message.
    failing: AtomicBool,
}

/// A version of a plugin that is recorded.
#[derive(Clone)]
pub(crate) struct RecordingHandle {
    recorder: Arc<Recorder>,
    name: String,
    digest: String,
    settings: String,
    record: RecordSettings,
    /// What instances of the version read before they see a message.
    start: Arc<SharedReads>,
    progress: Arc<Progress>,
}

impl Recorder {
    /// Starts the thread. It ends when nobody can send it anything any more.
    pub(crate) fn start(root: PathBuf) -> io::Result<Arc<Self>> {
        let (sender, jobs) = sync_channel(WAITING);
        let writer = RecordingWriter { root, wanted: HashMap::new(), open: HashMap::new() };
        std::thread::Builder::new().name("plugin-record".to_owned()).spawn(move || writer.run(&jobs))?;
        Ok(Arc::new(Self { sender, room: Arc::new(Semaphore::new(ALL_KIB)), plugins: Mutex::default() }))
    }

    /// Returns none if nothing is to be recorded with these settings.
    pub(crate) fn handle(
        self: &Arc<Self>,
        settings: &PluginSettings,
        digest: &str,
    ) -> Option<RecordingHandle> {
        let config = &settings.config;
        let name = directory_name(&config.tenant, &config.name);
        Some(RecordingHandle {
            recorder: Arc::clone(self),
            digest: digest.to_owned(),
            settings: fingerprint(&config.settings),
            record: settings.record?,
            start: Arc::default(),
            progress: self.progress(&name),
            name,
        })
    }

    fn progress(&self, name: &str) -> Arc<Progress> {
        let mut plugins = self.plugins.lock();
        Arc::clone(plugins.entry(name.to_owned()).or_insert_with(|| {
            Arc::new(Progress {
                room: Arc::new(Semaphore::new(PLUGIN_KIB)),
                written: AtomicU64::default(),
                dropped: AtomicU64::default(),
                messages: AtomicUsize::default(),
                octets: AtomicU64::default(),
                failing: AtomicBool::default(),
            })
        }))
    }

    /// These plugins of the configuration are recorded. Recordings of all others are removed.
    /// Blocks while much waits.
    pub(crate) fn keep<'a>(&self, plugins: impl Iterator<Item = &'a Arc<PluginSettings>>) {
        let kept = plugins.filter_map(|plugin| {
            let name = directory_name(&plugin.config.tenant, &plugin.config.name);
            let progress = self.progress(&name);
            Some((name, plugin.record?, progress))
        });
        // The thread ends with the process only.
        let _ = self.sender.send(RecorderCommand::Keep(kept.collect()));
    }

    /// The recordings of a plugin, the oldest first. Blocks while much waits.
    pub(crate) fn read(&self, name: &str, settings: RecordSettings) -> io::Result<Vec<StoredRecording>> {
        let (found, reply) = oneshot::channel();
        let _ = self.sender.send(RecorderCommand::Read(name.to_owned(), settings, found));
        reply.blocking_recv().map_err(io::Error::other)?
    }

    /// Returns when everything that was recorded before is in files. Blocks while much waits.
    pub(crate) fn flush(&self) {
        let (done, written) = oneshot::channel();
        let _ = self.sender.send(RecorderCommand::Flush(done));
        // Nothing is lost by a thread that has ended.
        let _ = written.blocking_recv();
    }
}

/// Names are checked by the configuration: letters, digits, hyphens and underscores. A dot parts
/// them.
pub(crate) fn directory_name(tenant: &str, plugin: &str) -> String {
    format!("{tenant}.{plugin}")
}

impl RecordingHandle {
    /// The plugin's data, which records what is read. Returns none if that is not recorded.
    pub(crate) fn recorded_reads(&self, data: &Arc<KvData>) -> Option<Arc<RecordedReads>> {
        let wanted = self.record.unredacted;
        wanted.then(|| Arc::new(RecordedReads::new(Arc::clone(data), Arc::clone(&self.start))))
    }

    /// Messages that were recorded since the start, and that were dropped.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.progress.written.load(Ordering::Relaxed), self.progress.dropped.load(Ordering::Relaxed))
    }

    /// For `relevo plugin list`.
    pub(crate) fn listed(&self) -> Value {
        let (recorded, dropped) = self.counts();
        json!({
            "messages": self.progress.messages.load(Ordering::Relaxed),
            "octets": self.progress.octets.load(Ordering::Relaxed),
            "redacted": !self.record.unredacted,
            "recorded": recorded,
            "dropped": dropped,
        })
    }

    /// Passes a message on. Never waits: what is too much is dropped and counted.
    pub(crate) fn record(
        &self,
        message: Arc<Message>,
        body: Body,
        reads: Option<Arc<RecordedReads>>,
        answer: RecordedAnswer,
    ) {
        let body = Some(body).filter(|_| self.record.unredacted);
        let octets = body.as_ref().map_or(0, |b| b.source.size().saturating_sub(b.offset).min(MAX_BODY))
            + reads.as_ref().map_or(0, |reads| reads.octets() as u64)
            + message.envelope.recipients.len() as u64 * 512;
        let passed = self.room(MESSAGE + octets / 1_024).is_some_and(|room| {
            let input = Input { message, body, reads, answer, handle: self.clone(), _room: room };
            self.recorder.sender.try_send(RecorderCommand::Record(Box::new(input))).is_ok()
        });
        if !passed {
            self.progress.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The plugin's share of it, and that of all.
    fn room(&self, kib: u64) -> Option<[OwnedSemaphorePermit; 2]> {
        let kib = u32::try_from(kib).ok()?;
        let own = Arc::clone(&self.progress.room).try_acquire_many_owned(kib).ok()?;
        let all = Arc::clone(&self.recorder.room).try_acquire_many_owned(kib).ok()?;
        Some([own, all])
    }
}

/// What the thread has.
struct RecordingWriter {
    root: PathBuf,
    /// What the configuration in force says, by the name of the directory.
    wanted: HashMap<String, RecordSettings>,
    open: HashMap<String, Open>,
}

struct Open {
    log: RecordingLog,
    pseudonyms: Pseudonyms,
    progress: Arc<Progress>,
}

impl Open {
    fn new(directory: &Path, settings: RecordSettings, progress: Arc<Progress>) -> io::Result<Self> {
        let log = RecordingLog::open(directory, settings)?;
        let pseudonyms = Pseudonyms::new(key(&directory.join("key"))?);
        let open = Self { log, pseudonyms, progress };
        open.count();
        Ok(open)
    }

    fn count(&self) {
        let (messages, octets) = self.log.kept();
        self.progress.messages.store(messages, Ordering::Relaxed);
        self.progress.octets.store(octets, Ordering::Relaxed);
    }
}

impl RecordingWriter {
    fn run(mut self, jobs: &Receiver<RecorderCommand>) {
        // Where that is refused, the thread keeps its priority. Elsewhere than on Linux it would be
        // the process's.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::nice(NICE);
        while let Ok(job) = jobs.recv() {
            match job {
                RecorderCommand::Record(input) => self.record(*input),
                RecorderCommand::Keep(plugins) => self.keep(plugins),
                // Nobody may be waiting any more.
                RecorderCommand::Read(name, settings, found) => {
                    drop(found.send(read_recordings(&self.root.join(name), settings)));
                }
                RecorderCommand::Flush(done) => drop(done.send(())),
            }
        }
    }

    fn record(&mut self, input: Input) {
        let (name, progress) = (input.handle.name.clone(), Arc::clone(&input.handle.progress));
        let written = self.write(input);
        let count = if written.is_ok() { &progress.written } else { &progress.dropped };
        count.fetch_add(1, Ordering::Relaxed);
        let failed_before = progress.failing.swap(written.is_err(), Ordering::Relaxed);
        if let Err(error) = written
            && !failed_before
        {
            tracing::warn!(plugin = name, %error, "messages cannot be recorded for replays");
        }
    }

    fn write(&mut self, input: Input) -> io::Result<()> {
        let Input { message, body, reads, answer, handle, .. } = input;
        if self.wanted.get(&handle.name) != Some(&handle.record) {
            return Err(io::Error::other("it was judged before the last reload"));
        }
        let open = match self.open.entry(handle.name.clone()) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(none) => {
                none.insert(Open::new(&self.root.join(&handle.name), handle.record, handle.progress)?)
            }
        };
        let mut recording = Recording {
            digest: handle.digest,
            settings: handle.settings,
            redacted: body.is_none(),
            message: Arc::unwrap_or_clone(message),
            body: KeptBody::LeftOut,
            reads: reads.map(|reads| reads.reads()),
            answer,
        };
        match body {
            Some(body) => recording.body = kept_body(&body)?,
            None => open.pseudonyms.redact(&mut recording.message),
        }
        let written = open.log.append(&recording);
        open.count();
        // With the next message it is looked at again what is there. A large recording or a full
        // disk says nothing of that.
        let known = [io::ErrorKind::FileTooLarge, io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        if written.as_ref().is_err_and(|error| !known.contains(&error.kind())) {
            self.open.remove(&handle.name);
        }
        written
    }

    fn keep(&mut self, plugins: Vec<(String, RecordSettings, Arc<Progress>)>) {
        let wanted: HashMap<_, _> =
            plugins.iter().map(|(name, settings, _)| (name.clone(), *settings)).collect();
        self.open.retain(|name, _| wanted.get(name) == self.wanted.get(name));
        self.wanted = wanted;
        self.remove_others();
        for (name, settings, progress) in plugins {
            if !self.open.contains_key(&name) {
                // Also removes what is of the other kind.
                match Open::new(&self.root.join(&name), settings, progress) {
                    Ok(open) => drop(self.open.insert(name, open)),
                    Err(error) => {
                        tracing::warn!(plugin = name, %error, "nothing can be recorded for replays");
                    }
                }
            }
        }
    }

    /// Removes whatever lies there and is not wanted, file or directory: one that cannot be removed
    /// does not keep the others.
    fn remove_others(&self) {
        let failed = |path: &Path, error: io::Error| {
            tracing::warn!(path = %path.display(), %error, "recordings that are not wanted any more cannot be removed");
        };
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) => return failed(&self.root, error),
        };
        for entry in entries.filter_map(Result::ok) {
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

/// The key of a plugin's pseudonyms, made at its first recording.
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
