//! The plugins behind HTTP's seam.

use std::sync::Arc;

use relevo_http::{BodyLimit, PluginAdmin, PluginRequest, PluginResponse, PluginVerb, RequestError};
use relevo_policy::{ActionError, PluginAction, Plugins};

/// The plugins, as HTTP administers them.
pub(crate) struct PluginsOverHttp(pub(crate) Arc<Plugins>);

impl PluginAdmin for PluginsOverHttp {
    fn body_limit(&self, command: &PluginRequest) -> Result<BodyLimit, RequestError> {
        let room = action(command.clone()).room(&self.0).map_err(refusal)?;
        Ok(BodyLimit { octets: room.octets, exceeded: room.to_string() })
    }

    fn run(&self, command: PluginRequest, content: Vec<u8>) -> PluginResponse {
        let plugins = self.0.clone();
        Box::pin(async move { plugins.act(action(command), content).await.map_err(refusal) })
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
