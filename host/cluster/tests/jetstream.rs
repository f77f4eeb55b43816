//! The contract on NATS: `RELEVO_NATS` is the URL of a server of a cluster of three, and
//! `RELEVO_NATS_SYSTEM` a user of its system account with the password, divided by a colon.
#![allow(clippy::expect_used, reason = "tests")]

use relevo_cluster::engine::Engine as _;
use relevo_cluster::jetstream::{JetStreamConfig, JetStreamEngine};

mod contract;

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds() {
    let url = std::env::var("RELEVO_NATS").expect("RELEVO_NATS is the URL of a server");
    let system = std::env::var("RELEVO_NATS_SYSTEM").expect("RELEVO_NATS_SYSTEM is USER:PASSWORD");
    let config = JetStreamConfig {
        servers: vec![url],
        user: None,
        system_user: system.split_once(':').map(|(user, password)| (user.into(), password.into())),
        ca_file: None,
        name: format!("test-{}", std::process::id()),
        replicas: 3,
        is_unsafe: false,
    };
    let engine = JetStreamEngine::connect(config.clone()).await.expect("connects");
    contract::holds(&engine, 1).await;
    // Somebody else finds the same.
    let other = JetStreamEngine::connect(config.clone()).await.expect("connects");
    assert_eq!(other.shards().await.expect("answers"), engine.shards().await.expect("answers"));
    let blind = JetStreamConfig { system_user: None, ..config };
    let error = JetStreamEngine::connect(blind).await.expect_err("settings cannot be seen").to_string();
    assert!(error.contains("system_user"), "{error}");
}
