//! Whether servers can keep the promise: what is acknowledged is on the disks of a quorum.

use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use futures::StreamExt as _;
use serde::Deserialize;

use crate::engine::EngineError;

/// Older servers sync once for each message, or not at all, and lose records in failures that later
/// ones survive.
pub const OLDEST: (u64, u64, u64) = (2, 15, 1);

/// How long servers have to say how they are set.
const ANSWERS: Duration = Duration::from_secs(2);

/// Refuses the server that we are connected to if it is too old.
pub(super) fn check_version(client: &Client, is_unsafe: bool) -> Result<(), EngineError> {
    let info = client.server_info();
    if !info.jetstream {
        return Err(EngineError::Refused(format!(
            "NATS server {}: JetStream is not enabled",
            info.server_name
        )));
    }
    match version(&info.version) {
        Some(found) if found >= OLDEST || is_unsafe => Ok(()),
        _ => Err(too_old(&info.server_name, &info.version)),
    }
}

fn too_old(name: &str, found: &str) -> EngineError {
    let (major, minor, patch) = OLDEST;
    EngineError::Refused(format!("NATS server {name} is {found}: {major}.{minor}.{patch} or later is needed"))
}

/// `2.15.1` or `2.15.1-RC.2` as numbers. A candidate comes before its release, and counts as it.
fn version(text: &str) -> Option<(u64, u64, u64)> {
    let mut numbers = text.split(['.', '-', '+']).map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some((next()?, next()?, next()?))
}

#[derive(Debug, Deserialize)]
struct Varz {
    data: VarzData,
}

#[derive(Debug, Deserialize)]
struct VarzData {
    server_name: String,
    version: String,
    #[serde(default)]
    jetstream: VarzJetStream,
}

#[derive(Debug, Default, Deserialize)]
struct VarzJetStream {
    config: Option<VarzConfig>,
}

#[derive(Debug, Deserialize)]
struct VarzConfig {
    #[serde(default)]
    sync_always: bool,
}

/// Refuses servers that acknowledge what is not on their disks. All servers of the cluster that have
/// JetStream answer.
pub(super) async fn check_settings(system: &Client) -> Result<(), EngineError> {
    let unknown = |why: &str| {
        EngineError::Refused(format!(
            "the settings of the NATS servers cannot be looked at: {why}. Give a user of the system account \
             (`system_user` of [cluster.nats]), so that `sync_interval: always` is known to be set"
        ))
    };
    let inbox = system.new_inbox();
    let mut answers = system.subscribe(inbox.clone()).await.map_err(|e| unknown(&e.to_string()))?;
    let asked = system.publish_with_reply("$SYS.REQ.SERVER.PING.VARZ", inbox, "{}".into()).await;
    asked.map_err(|e| unknown(&e.to_string()))?;
    let mut found = 0;
    while let Ok(Some(answer)) = tokio::time::timeout(ANSWERS, answers.next()).await {
        let Ok(varz) = serde_json::from_slice::<Varz>(&answer.payload) else { continue };
        if let Some(config) = &varz.data.jetstream.config {
            judge(&varz.data, config)?;
            found += 1;
        }
    }
    if found == 0 { Err(unknown("no server answers")) } else { Ok(()) }
}

fn judge(server: &VarzData, config: &VarzConfig) -> Result<(), EngineError> {
    if version(&server.version).is_none_or(|found| found < OLDEST) {
        return Err(too_old(&server.server_name, &server.version));
    }
    if !config.sync_always {
        return Err(EngineError::Refused(format!(
            "NATS server {} acknowledges records that are not on its disk: set `sync_interval: always` in its \
             `jetstream` block",
            server.server_name
        )));
    }
    Ok(())
}

/// Refuses a stream that was made otherwise than this relay makes it.
pub(super) fn check_stream(found: &Config, replicas: usize, is_unsafe: bool) -> Result<(), EngineError> {
    let wrong = |what: &str| Err(EngineError::Refused(format!("stream {}: {what}", found.name)));
    if found.storage != StorageType::File {
        return wrong("its storage is not `file`");
    }
    if found.discard != DiscardPolicy::New || !found.max_age.is_zero() || found.max_messages > 0 {
        return wrong("it may drop records by itself (discard, max_age, max_msgs)");
    }
    if found.num_replicas < replicas && !is_unsafe {
        return wrong(&format!("it has {} replicas, and {replicas} are configured", found.num_replicas));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(version: &str, sync_always: bool) -> Result<(), EngineError> {
        let text = format!(
            r#"{{"data":{{"server_name":"n1","version":"{version}","jetstream":{{"config":{{"sync_always":{sync_always}}}}}}}}}"#
        );
        let varz: Varz = serde_json::from_str(&text).unwrap();
        judge(&varz.data, varz.data.jetstream.config.as_ref().unwrap())
    }

    #[test]
    fn servers_that_cannot_keep_the_promise_are_refused_by_name() {
        assert_eq!(server("2.15.1", true), Ok(()));
        assert_eq!(server("2.16.0-RC.1", true), Ok(()));
        for (version, sync) in [("2.14.6", true), ("2.15.0", true), ("2.15.1", false), ("x", true)] {
            let error = server(version, sync).unwrap_err().to_string();
            assert!(error.contains("n1"), "{error}");
        }
    }
}
