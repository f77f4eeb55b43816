//! The contract on PostgreSQL: `RELEVO_POSTGRES_CLUSTER` is the URL of a database with a synchronous
//! standby.
#![allow(clippy::expect_used, reason = "tests")]

use relevo_cluster::postgres::PostgresEngine;

mod contract;

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds() {
    let url = std::env::var("RELEVO_POSTGRES_CLUSTER").expect("RELEVO_POSTGRES_CLUSTER is a URL");
    let engine = PostgresEngine::connect(&url, false).await.expect("connects");
    // Beside the shards of a cluster that may use the same database.
    contract::holds(&engine, 1000).await;
}
