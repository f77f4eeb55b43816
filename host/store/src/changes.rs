//! Changes by other processes, as soon as they are made. Each process keeps copies of what mail needs
//! and looks every few seconds whether they are stale; a server that tells of changes makes it look
//! at once.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::control::{ControlStore, Database};

/// The channel that migration 20 tells of changes in.
const CHANNEL: &str = "relevo";
/// A connection that said nothing for this long is asked whether it is alive.
const QUIET: Duration = Duration::from_secs(30);
/// Time in which it must answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Between two tries to connect.
const AGAIN: Duration = Duration::from_secs(5);

/// A part of the store that processes keep a copy of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreSubject {
    /// Tenants, domains, credentials and keys.
    Directory,
    /// Plugins.
    Plugins,
    /// Endpoints of webhooks.
    Webhooks,
}

const SUBJECTS: [(StoreSubject, &str); 3] = [
    (StoreSubject::Directory, "directory"),
    (StoreSubject::Plugins, "plugins"),
    (StoreSubject::Webhooks, "webhooks"),
];

/// Tells of changes of one subject.
#[derive(Debug, Clone)]
pub struct StoreChanges(watch::Receiver<u64>);

impl StoreChanges {
    /// Tells of nothing.
    #[must_use]
    pub fn never() -> Self {
        Self(watch::Sender::new(0).subscribe())
    }

    /// Waits for the next change, of this process or another. It may be told of one that is known, and
    /// one may be missed while the server cannot be reached: look now and then all the same.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Passes changes on.
#[derive(Debug, Default)]
pub(crate) struct ChangeSignals([watch::Sender<u64>; 3]);

impl ChangeSignals {
    fn subscribe(&self, subject: StoreSubject) -> StoreChanges {
        let signal = SUBJECTS.iter().zip(&self.0).find(|((known, _), _)| *known == subject);
        signal.map_or_else(StoreChanges::never, |(_, signal)| StoreChanges(signal.subscribe()))
    }

    fn signal(&self, name: &str) {
        for ((_, known), signal) in SUBJECTS.iter().zip(&self.0) {
            if *known == name {
                signal.send_modify(|count| *count += 1);
            }
        }
    }

    fn signal_all(&self) {
        self.0.iter().for_each(|signal| signal.send_modify(|count| *count += 1));
    }
}

impl ControlStore {
    /// Tells of changes, as long as [`Self::listen`] runs.
    #[must_use]
    pub fn changes(&self, subject: StoreSubject) -> StoreChanges {
        self.signals.subscribe(subject)
    }

    /// Listens for changes until it is dropped, by a connection of its own. SQLite tells of none: one
    /// process uses it.
    pub async fn listen(&self) {
        let Database::Postgres(pool) = &self.database else { return std::future::pending().await };
        let options = pool.connect_options().as_ref().clone();
        let alone = PgPoolOptions::new().max_connections(1).acquire_timeout(ANSWER);
        let alone = alone.idle_timeout(None).max_lifetime(None).connect_lazy_with(options);
        let mut is_heard = true;
        loop {
            let Err(error) = self.hear(&alone, &mut is_heard).await;
            if std::mem::take(&mut is_heard) {
                tracing::warn!(%error, "the store cannot tell of changes: they are seen some seconds later");
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn hear(
        &self,
        alone: &sqlx::PgPool,
        is_heard: &mut bool,
    ) -> Result<std::convert::Infallible, sqlx::Error> {
        let mut listener = PgListener::connect_with(alone).await?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        if !std::mem::replace(is_heard, true) {
            tracing::info!("the store tells of changes again");
        }
        // There may have been changes before.
        self.signals.signal_all();
        loop {
            match timeout(QUIET, listener.try_recv()).await {
                Ok(Ok(Some(change))) => self.signals.signal(change.payload()),
                Ok(Ok(None)) => return Err(closed("it was closed")),
                Ok(Err(error)) => return Err(error),
                // A peer that vanished closes nothing.
                Err(_) => {
                    let asked = timeout(ANSWER, sqlx::query("SELECT 1").execute(&mut listener)).await;
                    asked.map_err(|_| closed("it does not answer"))??;
                }
            }
        }
    }
}

fn closed(why: &str) -> sqlx::Error {
    sqlx::Error::Protocol(format!("the connection that listens: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn changes_of_a_subject_are_told_to_its_readers() {
        let signals = ChangeSignals::default();
        let (mut directory, mut plugins) =
            (signals.subscribe(StoreSubject::Directory), signals.subscribe(StoreSubject::Plugins));
        signals.signal("directory");
        signals.signal("directory");
        signals.signal("what a later version tells");
        let told = async |changes: &mut StoreChanges| timeout(ANSWER / 50, changes.next()).await.is_ok();
        assert!(told(&mut directory).await, "once for both");
        assert!(!told(&mut directory).await);
        assert!(!told(&mut plugins).await);
        signals.signal_all();
        assert!(told(&mut plugins).await);
        drop(signals);
        assert!(told(&mut directory).await);
        assert!(!told(&mut directory).await, "nobody tells any more");
    }

    #[cfg(feature = "postgres-tests")]
    mod on_postgresql {
        use std::sync::Arc;

        use super::*;
        use crate::testing::new_database;
        use crate::{
            DirectoryStore as _, PluginRecord, PluginStore as _, StoreUrl, TenantRecord, TenantSettings,
        };

        /// Far less than the two seconds between two looks.
        const SOON: Duration = Duration::from_millis(500);

        async fn put(store: &ControlStore, id: &str) {
            let tenant = TenantRecord { id: id.into(), settings: TenantSettings::default() };
            store.put_tenant(&tenant).await.expect("adds");
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn a_change_of_one_node_is_told_to_the_others_at_once() {
            let url = StoreUrl::Postgres(new_database().await);
            let one = ControlStore::open(&url).await.expect("opens");
            let two = Arc::new(ControlStore::open(&url).await.expect("opens"));
            let (mut directory, mut plugins) =
                (two.changes(StoreSubject::Directory), two.changes(StoreSubject::Plugins));
            let listener = two.clone();
            let listening = tokio::spawn(async move { listener.listen().await });
            // It listens.
            timeout(10 * ANSWER, directory.next()).await.expect("listens");
            timeout(SOON, plugins.next()).await.expect("both");
            let before = two.directory_revision().await.expect("reads");
            put(&one, "acme").await;
            timeout(SOON, directory.next()).await.expect("is told at once");
            assert_eq!(two.directory_revision().await.expect("reads"), before + 1, "it is committed by then");
            let revision = one.plugin_revision().await.expect("reads");
            let plugin = PluginRecord { tenant: "acme".into(), name: "p".into(), ..PluginRecord::default() };
            one.put_plugin(revision, &plugin, None).await.expect("adds");
            timeout(SOON, plugins.next()).await.expect("is told at once");
            // A lost connection is made again, and what came meanwhile is looked for.
            let Database::Postgres(pool) = &one.database else { unreachable!("PostgreSQL") };
            let sql = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity \
                       WHERE datname = current_database() AND query LIKE 'LISTEN%'";
            let ended: i64 = sqlx::query_scalar(sql).fetch_one(pool).await.expect("ends");
            assert_eq!(ended, 1);
            put(&one, "other").await;
            timeout(AGAIN + ANSWER, directory.next()).await.expect("is found later");
            put(&one, "third").await;
            timeout(SOON, directory.next()).await.expect("is told at once again");
            listening.abort();
        }
    }
}
