//! Commands on plugins: each is written to the audit log of its tenant. And HTTP's seam to them.

use std::sync::Arc;

use relevo_http::{BodyLimit, PluginAdmin, PluginRequest, PluginResponse, PluginVerb, RequestError};
use relevo_policy::{ActionError, PluginAction, Plugins, Room};
use relevo_relay::audit::{Act, AuditLog};
use serde_json::Value;

/// The plugins, with the audit log of what is done to them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AuditedPlugins {
    pub(crate) plugins: Arc<Plugins>,
    pub(crate) audit: Arc<AuditLog>,
}

impl AuditedPlugins {
    /// How much content `action` may come with.
    pub(crate) fn room(&self, action: &PluginAction) -> Result<Room, ActionError> {
        action.room(&self.plugins)
    }

    /// Does `action`. `actor` is who asks, as the audit log names them.
    pub(crate) async fn act(
        &self,
        actor: &str,
        action: PluginAction,
        content: Vec<u8>,
    ) -> Result<Value, ActionError> {
        let act = administered(&action).map(|(t, p, verb)| (t.to_owned(), p.to_owned(), verb));
        let answer = self.plugins.act(action, content).await;
        // What names no plugin of a tenant did nothing, and the tenant may be none.
        if let Some((tenant, plugin, action)) = act
            && !matches!(answer, Err(ActionError::NotFound(_)))
        {
            let result = answer.as_ref().err().map_or_else(|| "done".to_owned(), ToString::to_string);
            let act = Act { tenant: &tenant, actor, action, subject: &plugin, result: &result };
            self.audit.write(act).await;
        }
        answer
    }
}

/// Tenant, plugin and name of an action that changes something.
fn administered(action: &PluginAction) -> Option<(&str, &str, &'static str)> {
    let (tenant, plugin, verb) = match action {
        PluginAction::List { .. } | PluginAction::Replay { .. } => return None,
        PluginAction::Add { tenant, plugin } => (tenant, plugin, "plugin add"),
        PluginAction::Shadow { tenant, plugin } => (tenant, plugin, "plugin add --shadow"),
        PluginAction::EndShadow { tenant, plugin } => (tenant, plugin, "plugin end-shadow"),
        PluginAction::Forget { tenant, plugin } => (tenant, plugin, "plugin forget"),
        PluginAction::Enable { tenant, plugin } => (tenant, plugin, "plugin enable"),
        PluginAction::Disable { tenant, plugin } => (tenant, plugin, "plugin disable"),
        PluginAction::Rollback { tenant, plugin, .. } => (tenant, plugin, "plugin rollback"),
        PluginAction::KvImport { tenant, plugin } => (tenant, plugin, "plugin kv import"),
    };
    Some((tenant, plugin, verb))
}

impl PluginAdmin for AuditedPlugins {
    fn body_limit(&self, command: &PluginRequest) -> Result<BodyLimit, RequestError> {
        let room = self.room(&action(command.clone())).map_err(refusal)?;
        Ok(BodyLimit { octets: room.octets, exceeded: room.to_string() })
    }

    fn run(&self, actor: &str, command: PluginRequest, content: Vec<u8>) -> PluginResponse {
        let (plugins, actor) = (self.clone(), actor.to_owned());
        Box::pin(async move { plugins.act(&actor, action(command), content).await.map_err(refusal) })
    }
}

fn action(command: PluginRequest) -> PluginAction {
    let (tenant, plugin, verb) = match command {
        PluginRequest::List { tenant } => return PluginAction::List { tenant },
        PluginRequest::Act { tenant, plugin, verb } => (tenant, plugin, verb),
    };
    match verb {
        PluginVerb::Add => PluginAction::Add { tenant, plugin },
        PluginVerb::Shadow => PluginAction::Shadow { tenant, plugin },
        PluginVerb::EndShadow => PluginAction::EndShadow { tenant, plugin },
        PluginVerb::Forget => PluginAction::Forget { tenant, plugin },
        PluginVerb::Enable => PluginAction::Enable { tenant, plugin },
        PluginVerb::Disable => PluginAction::Disable { tenant, plugin },
        PluginVerb::Rollback { digest } => PluginAction::Rollback { tenant, plugin, digest },
        PluginVerb::Replay { digest, last } => PluginAction::Replay { tenant, plugin, digest, last },
        PluginVerb::ImportKv => PluginAction::KvImport { tenant, plugin },
    }
}

fn refusal(error: ActionError) -> RequestError {
    match error {
        ActionError::NotFound(message) => RequestError::NotFound(message),
        ActionError::Refused(message) => RequestError::Invalid { param: None, message },
        ActionError::Busy(message) => RequestError::Conflict(message),
        // An operator asks, who can do something about it.
        ActionError::Failed(message) => {
            tracing::error!(message, "plugins over http");
            RequestError::Unavailable(message)
        }
    }
}
