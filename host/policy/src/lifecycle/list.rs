//! What `relevo plugin list` shows.

use relevo_relay::clock::timestamp;
use relevo_store::PluginRecord;
use serde_json::{Value, json};

use super::Lifecycle;
use crate::record::RecordingHandle;

impl Lifecycle {
    pub(crate) async fn list(&self, tenant: Option<&str>) -> Value {
        let table = self.table.lock().await;
        let settings = self.settings.get();
        let mut listed = Vec::new();
        let mut tenants: Vec<_> = settings.directory.tenants().collect();
        tenants.sort_by(|a, b| a.id.cmp(&b.id));
        for of in tenants.into_iter().filter(|t| tenant.is_none_or(|wanted| wanted == t.id)) {
            for plugin in &of.plugins {
                let stored = table.get(&of.id, &plugin.config.name).cloned().unwrap_or_default();
                listed.push(self.listed(&of.id, &plugin.config.name, &stored));
            }
        }
        for stored in table.all().filter(|stored| tenant.is_none_or(|wanted| wanted == stored.tenant)) {
            if self.configured(&stored.tenant, &stored.name).is_err() {
                let mut unused = self.listed(&stored.tenant, &stored.name, stored);
                unused["state"] = "unconfigured".into();
                listed.push(unused);
            }
        }
        Value::Array(listed)
    }

    fn listed(&self, tenant: &str, plugin: &str, stored: &PluginRecord) -> Value {
        let active = self.active.get(tenant, plugin);
        let versions: Vec<Value> = stored
            .versions
            .iter()
            .rev()
            .map(|v| json!({ "digest": v.digest, "added_at": timestamp(v.added_at), "size": v.octets }))
            .collect();
        let state = match (&active, &stored.active) {
            (_, None) => "empty",
            (Some(active), Some(_)) if active.problem().is_none() => "active",
            (Some(_), Some(_)) => "broken",
            (None, Some(_)) => "disabled",
        };
        json!({
            "tenant": tenant,
            "plugin": plugin,
            "state": state,
            "digest": stored.active,
            "previous": stored.previous,
            "versions": versions,
            "problem": active.as_ref().and_then(|p| p.problem()),
            "breaker": active.as_ref().map(|p| p.breaker().0),
            "last_fault": active.as_ref().and_then(|p| p.last_fault()).map(|(at, fault)| {
                json!({ "at": timestamp(at), "fault": fault })
            }),
            "kv_entries": active.as_ref().map(|p| p.data.len()),
            "shadow": active.as_ref().and_then(|p| p.shadow.as_ref()).map(|s| s.listed()),
            "recordings": active.as_ref().and_then(|p| p.recording.as_ref()).map(RecordingHandle::listed),
            "log": active.as_ref().map(|p| p.last_lines()),
        })
    }
}
