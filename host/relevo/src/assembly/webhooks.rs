//! Webhooks, and the name of the event log that they follow.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use prometheus_client::registry::Registry;
use relevo_mailkit::hex;
use relevo_resolve::Resolve;
use relevo_smtp::client::root_certificates;
use relevo_store::ControlStore;
use relevo_webhooks::{WebhookMetrics, WebhookParts, Webhooks};

use super::Base;

/// Octets of the name of an event log.
const NODE: usize = 8;

pub(super) fn webhooks(
    base: &Base,
    store: &Arc<ControlStore>,
    resolve: Arc<dyn Resolve>,
    registry: &mut Registry,
) -> anyhow::Result<Webhooks> {
    let config = &base.parts.webhooks;
    let roots = root_certificates(base.parts.ca_file.as_deref()).context("[delivery] ca_file")?;
    let fetcher = relevo_fetch::Fetcher::new(resolve, roots, config.allow_networks.clone())?;
    let clock = base.clock.clone();
    Ok(Webhooks::new(WebhookParts {
        endpoints: store.clone(),
        deliveries: store.clone(),
        events: base.store.clone(),
        node: node_id(&base.parts.data_dir)?,
        fetcher,
        now: Arc::new(move || clock.now()),
        metrics: WebhookMetrics::register(registry),
        config: config.limits.clone(),
    }))
}

/// The name of the event log in a data directory, made with it. Several nodes may share a store;
/// positions in their event logs are not comparable.
fn node_id(data_dir: &Path) -> anyhow::Result<String> {
    let path = data_dir.join("node.id");
    let read = || -> anyhow::Result<String> {
        let text = relevo_keys::read_file(&path, 64).with_context(|| path.display().to_string())?;
        let name = String::from_utf8(text).unwrap_or_default().trim().to_owned();
        anyhow::ensure!(
            hex::decode_array::<NODE>(&name).is_some(),
            "{} is damaged: remove it, and webhooks are sent for events from now on",
            path.display()
        );
        Ok(name)
    };
    if path.exists() {
        return read();
    }
    let mut octets = [0; NODE];
    getrandom::fill(&mut octets).map_err(|e| anyhow::anyhow!("the system gives no randomness: {e}"))?;
    let new = data_dir.join("node.id.new");
    let written = std::fs::write(&new, hex::encode(&octets) + "\n")
        .and_then(|()| std::fs::File::open(&new)?.sync_all())
        .and_then(|()| std::fs::rename(&new, &path))
        .and_then(|()| std::fs::File::open(data_dir)?.sync_all());
    written.with_context(|| format!("{} cannot be made", path.display()))?;
    read()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_has_one_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let name = node_id(directory.path()).expect("is made");
        assert_eq!(name.len(), 2 * NODE);
        assert_eq!(node_id(directory.path()).expect("is read"), name);
        let other = tempfile::tempdir().expect("a directory");
        assert_ne!(node_id(other.path()).expect("is made"), name);
        std::fs::write(other.path().join("node.id"), "a name").expect("writes");
        assert!(node_id(other.path()).is_err());
    }
}
