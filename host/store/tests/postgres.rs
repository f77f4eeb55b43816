//! The contract on PostgreSQL: `RELEVO_POSTGRES` is the URL of an empty database, whose user may make
//! others.

use std::sync::atomic::{AtomicU32, Ordering};

use relevo_store::{ControlStore, ControlStoreError, DirectoryStore, StoreUrl, TenantRecord, TenantSettings};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

mod contract;

/// A new database on the same server.
async fn new_database() -> StoreUrl {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let server = std::env::var("RELEVO_POSTGRES").expect("RELEVO_POSTGRES is the URL of a database");
    let name = format!("c{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let mut connection = PgConnection::connect(&server).await.expect("connects");
    let sql = AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(sql).execute(&mut connection).await.expect("creates");
    let (front, _) = server.rsplit_once('/').expect("a database");
    StoreUrl::Postgres(format!("{front}/{name}"))
}

async fn connect(url: &StoreUrl) -> PgConnection {
    let StoreUrl::Postgres(url) = url else { unreachable!("PostgreSQL") };
    PgConnection::connect(url).await.expect("connects")
}

async fn open(url: &StoreUrl) -> ControlStore {
    ControlStore::open(url).await.expect("opens")
}

fn tenant(id: &str) -> TenantRecord {
    TenantRecord { id: id.into(), settings: TenantSettings::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_and_two_nodes_see_each_other() {
    let url = new_database().await;
    let (one, two) = (open(&url).await, open(&url).await);
    contract::holds(&one).await;

    let before = two.directory_revision().await.expect("reads");
    one.put_tenant(&tenant("acme")).await.expect("adds");
    let found = two.directory().await.expect("reads");
    assert_eq!((found.tenants, found.revision), (vec![tenant("acme")], before + 1));

    let nowhere: StoreUrl = "postgres://relevo@127.0.0.1:1/none".parse().expect("a URL");
    let error = ControlStore::open(&nowhere).await.expect_err("nobody listens");
    assert!(matches!(error, ControlStoreError::Database(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_together_migrate_once() {
    let url = new_database().await;
    let (one, two, three) = tokio::join!(open(&url), open(&url), open(&url));
    for (number, store) in [one, two, three].into_iter().enumerate() {
        store.put_tenant(&tenant(&format!("t{number}"))).await.expect("adds");
    }
    let sql = "SELECT COUNT(*), COUNT(DISTINCT version) FROM _sqlx_migrations WHERE success";
    let counts: (i64, i64) = sqlx::query_as(sql).fetch_one(&mut connect(&url).await).await.expect("reads");
    assert_eq!(counts.0, counts.1);
    assert_eq!(open(&url).await.directory().await.expect("reads").tenants.len(), 3);
}

/// What the next version does to the store while nodes of this one run: it adds.
async fn upgrade(url: &StoreUrl) {
    let mut connection = connect(url).await;
    let sql = "SELECT table_name::TEXT FROM information_schema.tables WHERE table_schema = current_schema() \
               AND table_name <> '_sqlx_migrations'";
    let tables: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut connection).await.expect("reads");
    assert!(tables.len() > 20, "{tables:?}");
    for table in tables {
        let sql = format!("ALTER TABLE \"{table}\" ADD COLUMN of_the_next_version TEXT NOT NULL DEFAULT ''");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.expect("adds");
    }
    let sql = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
               VALUES (9999, 'of the next version', TRUE, 'x', 0)";
    sqlx::query(sql).execute(&mut connection).await.expect("adds");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_goes_on_while_the_next_version_migrates_and_does_not_start_after_it() {
    let url = new_database().await;
    let running = open(&url).await;
    // Its connections remember statements.
    for id in ["a", "b"] {
        running.put_tenant(&tenant(id)).await.expect("adds");
        running.directory().await.expect("reads");
        running.delete_tenant(id).await.expect("deletes");
    }
    upgrade(&url).await;
    contract::holds(&running).await;

    let error = ControlStore::open(&url).await.expect_err("it is newer");
    assert!(matches!(error, ControlStoreError::Newer(9999)), "{error:?}");
    let words = error.to_string();
    assert!(words.contains("migration 9999") && words.contains("start that version"), "{words}");
    let error = ControlStore::open_as_is(&url).await.expect_err("it is newer");
    assert!(matches!(error, ControlStoreError::Newer(9999)), "{error:?}");
}

#[tokio::test]
async fn a_store_of_an_older_version_is_not_changed_by_who_only_reads() {
    let url = new_database().await;
    let error = ControlStore::open_as_is(&url).await.expect_err("nothing there").to_string();
    assert!(error.contains("no tables of Relevo"), "{error}");
    open(&url).await;
    let sql = "DELETE FROM _sqlx_migrations WHERE version = (SELECT MAX(version) FROM _sqlx_migrations)";
    sqlx::query(sql).execute(&mut connect(&url).await).await.expect("deletes");
    let error = ControlStore::open_as_is(&url).await.expect_err("it is older");
    assert!(matches!(error, ControlStoreError::Older(_)), "{error:?}");
}
