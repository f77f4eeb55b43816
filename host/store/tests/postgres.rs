//! The contract on PostgreSQL: `RELEVO_POSTGRES` is the URL of an empty database.

use relevo_store::{ControlStore, ControlStoreError, DirectoryStore, StoreUrl, TenantRecord, TenantSettings};

mod contract;

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_and_two_nodes_see_each_other() {
    let url = std::env::var("RELEVO_POSTGRES").expect("RELEVO_POSTGRES is the URL of an empty database");
    let url: StoreUrl = url.parse().expect("a URL");
    let (one, two) =
        (ControlStore::open(&url).await.expect("opens"), ControlStore::open(&url).await.expect("opens"));
    contract::holds(&one).await;

    let before = two.directory_revision().await.expect("reads");
    let acme = TenantRecord { id: "acme".into(), settings: TenantSettings::default() };
    one.put_tenant(&acme).await.expect("adds");
    let found = two.directory().await.expect("reads");
    assert_eq!((found.tenants, found.revision), (vec![acme], before + 1));

    let nowhere: StoreUrl = "postgres://relevo@127.0.0.1:1/none".parse().expect("a URL");
    let error = ControlStore::open(&nowhere).await.expect_err("nobody listens");
    assert!(matches!(error, ControlStoreError::Database(_)), "{error:?}");
}
