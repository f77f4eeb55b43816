//! Databases for tests: files, and on a real server databases of their own.

use std::path::Path;

use crate::{ControlStore, StoreUrl};

/// A store in a new file.
pub(crate) async fn sqlite(folder: &Path, name: &str) -> ControlStore {
    let url = StoreUrl::File(folder.join(name));
    ControlStore::open(&url).await.expect("opens")
}

/// A new database on the server that `RELEVO_POSTGRES` names.
#[cfg(feature = "postgres-tests")]
pub(crate) async fn new_database() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};

    use sqlx::Connection as _;

    static NEXT: AtomicU32 = AtomicU32::new(0);
    let server = std::env::var("RELEVO_POSTGRES").expect("RELEVO_POSTGRES is the URL of a database");
    let name = format!("t{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let mut connection = sqlx::PgConnection::connect(&server).await.expect("connects");
    let sql = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(sql).execute(&mut connection).await.expect("creates");
    let (front, _) = server.rsplit_once('/').expect("a database");
    format!("{front}/{name}")
}

/// A store in a new database.
#[cfg(feature = "postgres-tests")]
pub(crate) async fn postgres() -> ControlStore {
    ControlStore::open(&StoreUrl::Postgres(new_database().await)).await.expect("opens")
}
