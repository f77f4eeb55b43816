//! The embedded store: what implements [`Queue`] and [`EventLog`] in one process on one disk.

mod events;
mod queue;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "testing")]
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::disk::{Disk, RealDisk};
use crate::inner::{StoreCore, blocking};
use crate::layout::{DirectoryLock, real_root};
use crate::request::{Op, WriteOutcome, WriterMessage};
use crate::shard_log::bind::LogState;
use crate::shard_log::{LogComparison, Seq, offline};
use crate::{EventHistory, LogBinding, MailStore, OpenError, Recovered, StoreError, group, recover, salvage};

/// How long new mail waits for the log of a shard.
const ANSWER: Duration = Duration::from_secs(20);

/// Settings of the embedded store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// Below this many free octets new mail is refused; outcomes, bounces and events still pass.
    pub min_free: u64,
    /// Octets that are allocated for outcomes. While they are not, no attempt begins. 0: none are.
    pub reserve: u64,
    /// A segment file is closed when it reaches this.
    pub segment_size: u64,
    /// A segment older than this of which less than a quarter is needed is emptied into the current
    /// one.
    pub compact_after: Duration,
    /// Memory for arriving bodies beyond their first 64 KiB, of all messages together. Those that
    /// find none are written to files of their own.
    pub spool_memory: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            min_free: 1 << 30,
            reserve: 32 << 20,
            segment_size: 32 << 20,
            compact_after: Duration::from_secs(60),
            spool_memory: 16 << 20,
        }
    }
}

/// Queue and event log in a directory of this machine.
#[derive(Debug)]
pub struct EmbeddedStore {
    inner: Arc<StoreCore>,
    writer: mpsc::Sender<WriterMessage>,
    #[cfg(feature = "testing")]
    temporary: Mutex<Option<tempfile::TempDir>>,
}

impl EmbeddedStore {
    /// Opens the store in `path`, which is made when it does not exist, and recovers what is in it.
    /// Blocks: call it before serving.
    ///
    /// # Errors
    /// The directory is in use by another process, was written by a newer version, or cannot be
    /// read.
    pub fn open(path: impl AsRef<Path>, config: StoreConfig) -> Result<Arc<Self>, OpenError> {
        let path = real_root(path.as_ref())?;
        let lock = DirectoryLock::of(&path)?;
        Self::start(&path, Arc::new(RealDisk), config, Some(lock), None)
    }

    /// Takes over the shard whose log this is, and opens it in `path`: what the directory lacks is read
    /// from the log. From now on everything is in the log before it is promised. Blocks.
    ///
    /// # Errors
    /// As for [`Self::open`], and [`OpenError::Log`].
    pub fn open_logged(
        path: impl AsRef<Path>,
        config: StoreConfig,
        binding: &LogBinding,
    ) -> Result<Arc<Self>, OpenError> {
        let path = real_root(path.as_ref())?;
        let lock = DirectoryLock::of(&path)?;
        Self::start(&path, Arc::new(RealDisk), config, Some(lock), Some(binding))
    }

    /// As [`Self::open_logged`], over another file layer. Nothing keeps a second process out.
    ///
    /// # Errors
    /// As above.
    pub fn open_logged_on(
        disk: Arc<dyn Disk>,
        path: impl AsRef<Path>,
        config: StoreConfig,
        binding: &LogBinding,
    ) -> Result<Arc<Self>, OpenError> {
        Self::start(path.as_ref(), disk, config, None, Some(binding))
    }

    /// Writes the log of a shard anew from its directory, for the day when the engine has lost it, or for
    /// a store that never had one. Nobody may serve the shard meanwhile. Returns the octets that were
    /// written. Blocks.
    ///
    /// # Errors
    /// The directory is in use or cannot be read; the log cannot be had.
    pub fn rebuild_log(
        path: impl AsRef<Path>,
        config: &StoreConfig,
        binding: &LogBinding,
    ) -> Result<u64, OpenError> {
        let path = real_root(path.as_ref())?;
        let lock = DirectoryLock::of(&path)?;
        apart(|| offline::rebuild(&path, Arc::new(RealDisk), config, Some(lock), binding))
    }

    /// How many messages wait in a directory whose ids do not name this shard: those of a relay that was
    /// not in a cluster. No node would find them by their ids.
    ///
    /// # Errors
    /// The directory is in use or cannot be read.
    pub fn items_outside(path: impl AsRef<Path>, shard: u16) -> Result<u64, OpenError> {
        let path = real_root(path.as_ref())?;
        let _lock = DirectoryLock::of(&path)?;
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        offline::items_outside(&path, &disk, shard)
    }

    /// Compares the log of a shard with its directory: reads the log into `scratch`, an empty directory.
    /// Nobody may serve the shard meanwhile. Blocks.
    ///
    /// # Errors
    /// As for [`Self::rebuild_log`].
    pub fn verify_log(
        path: impl AsRef<Path>,
        scratch: impl AsRef<Path>,
        config: &StoreConfig,
        binding: &LogBinding,
    ) -> Result<LogComparison, OpenError> {
        let (path, scratch) = (real_root(path.as_ref())?, real_root(scratch.as_ref())?);
        let _lock = DirectoryLock::of(&path)?;
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        apart(|| offline::verify(&path, &scratch, &disk, config, binding))
    }

    /// Makes the directory of a shard one without a log.
    ///
    /// # Errors
    /// The directory is in use or cannot be read.
    pub fn leave_log(path: impl AsRef<Path>) -> Result<(), OpenError> {
        let path = real_root(path.as_ref())?;
        let _lock = DirectoryLock::of(&path)?;
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        offline::leave(&path, &disk)
    }

    /// Whether the store has ended: every call fails until it is opened anew.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.inner.poison.check().is_err()
    }

    /// The last record of its log that is in the directory; none: the store has no log.
    #[must_use]
    pub fn applied(&self) -> Option<Seq> {
        self.inner.log().map(LogState::applied)
    }

    /// Ends an owner that may no longer own its shard: nothing is waited for, and every later call
    /// fails. What became of a record whose answer is outstanding is known when the log is read again.
    pub fn abandon(&self) {
        if let Some(log) = self.inner.log() {
            log.stop();
        }
        self.inner.poison.end("the shard is served elsewhere, or nobody knows by whom");
    }

    /// Rebuilds the index of a directory from what bodies and segments still tell; see `DESIGN.md`.
    /// Messages that are found there, and not in the index as far as it can be read, are queued
    /// again: held, or due at once with `release`. It is not known which of their recipients have
    /// them already.
    ///
    /// # Errors
    /// The directory is in use, has another format, or cannot be read.
    pub fn recover(
        path: impl AsRef<Path>,
        config: &StoreConfig,
        release: bool,
    ) -> Result<Recovered, OpenError> {
        let path = real_root(path.as_ref())?;
        let lock = DirectoryLock::of(&path)?;
        salvage::recover(&path, Arc::new(RealDisk), config, Some(lock), release)
    }

    /// As [`Self::recover`], over another file layer.
    ///
    /// # Errors
    /// As above.
    pub fn recover_on(
        disk: Arc<dyn Disk>,
        path: impl AsRef<Path>,
        config: &StoreConfig,
        release: bool,
    ) -> Result<Recovered, OpenError> {
        salvage::recover(path.as_ref(), disk, config, None, release)
    }

    /// As [`Self::open`], over another file layer. Nothing keeps a second process out.
    ///
    /// # Errors
    /// As above.
    pub fn open_on(
        disk: Arc<dyn Disk>,
        path: impl AsRef<Path>,
        config: StoreConfig,
    ) -> Result<Arc<Self>, OpenError> {
        Self::start(path.as_ref(), disk, config, None, None)
    }

    /// A store in a directory of its own that is removed with it. With `RELEVO_TEST_SHARD_LOG` it has a
    /// log in memory.
    ///
    /// # Errors
    /// As above.
    #[cfg(feature = "testing")]
    pub fn open_temp() -> Result<Arc<Self>, OpenError> {
        let dir = tempfile::tempdir().map_err(|error| OpenError::Io { path: std::env::temp_dir(), error })?;
        let config = StoreConfig { min_free: 0, reserve: 0, ..StoreConfig::default() };
        let store = match std::env::var_os("RELEVO_TEST_SHARD_LOG") {
            None => Self::open(dir.path(), config)?,
            Some(_) => Self::open_logged(dir.path(), config, &crate::testing::memory_binding())?,
        };
        *store.temporary.lock() = Some(dir);
        Ok(store)
    }

    fn start(
        path: &Path,
        disk: Arc<dyn Disk>,
        config: StoreConfig,
        lock: Option<DirectoryLock>,
        binding: Option<&LogBinding>,
    ) -> Result<Arc<Self>, OpenError> {
        let writer = match binding {
            None => recover::open(path, disk, &config, lock, None)?,
            Some(_) => apart(|| recover::open(path, disk, &config, lock, binding))?,
        };
        let inner = writer.inner.clone();
        let (sender, inbox) = mpsc::channel(group::WAITING);
        std::thread::Builder::new()
            .name("queue-writer".into())
            .spawn(move || writer.run(inbox))
            .map_err(|error| OpenError::Io { path: path.to_path_buf(), error })?;
        Ok(Arc::new(Self {
            inner,
            writer: sender,
            #[cfg(feature = "testing")]
            temporary: Mutex::default(),
        }))
    }

    /// Hands a request to the writer and waits until it is durable.
    async fn write(&self, op: Op) -> Result<WriteOutcome, StoreError> {
        self.inner.poison.check()?;
        let (reply, answer) = oneshot::channel();
        let gone = || StoreError::Io("the store is closed".into());
        let may_be_late = self.inner.log().is_some() && op.is_new();
        let done = async {
            self.writer.send(WriterMessage::Do(op, reply)).await.map_err(|_| gone())?;
            answer.await.unwrap_or_else(|_| Err(gone()))
        };
        if !may_be_late {
            return done.await;
        }
        // Mail may still be accepted after this: its sender then sends it twice, as after any answer
        // that is lost.
        let late = || {
            let seconds = ANSWER.as_secs();
            StoreError::Unavailable(format!("the log of the shard is away: no answer within {seconds} s"))
        };
        tokio::time::timeout(ANSWER, done).await.unwrap_or_else(|_| Err(late()))
    }

    /// Reads what is committed, off the IO workers.
    async fn read_with<T: Send + 'static>(
        &self,
        read: impl FnOnce(&StoreCore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.inner.poison.check()?;
        let inner = self.inner.clone();
        let guarded = move || {
            catch_unwind(AssertUnwindSafe(|| read(&inner)))
                .unwrap_or_else(|p| Err(inner.index.damaged(p.as_ref()).into()))
        };
        blocking(guarded).await
    }

    async fn shut(&self) {
        let (reply, done) = oneshot::channel();
        if self.writer.send(WriterMessage::Close(reply)).await.is_ok() {
            let _ = done.await;
        }
    }

    /// Where its files are.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.inner.layout.root().to_path_buf()
    }
}

/// Does what waits for a log on a thread of its own: the caller may be a task.
fn apart<T: Send>(work: impl FnOnce() -> Result<T, OpenError> + Send) -> Result<T, OpenError> {
    std::thread::scope(|scope| {
        let done = scope.spawn(work).join();
        done.unwrap_or_else(|_| Err(OpenError::Log { why: "internal fault".into() }))
    })
}

impl EventHistory for EmbeddedStore {}

impl MailStore for EmbeddedStore {
    /// Made at random with the store.
    fn id(&self) -> u64 {
        self.inner.id
    }
}
