//! The control channel of a running relay: a Unix socket in the data directory, mode 0600. One JSON
//! request per line, one JSON answer per line: `{"ok": ...}` or `{"error": "..."}`.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use relevo_cluster::member::Member;
use relevo_policy::Room;
use relevo_relay::audit::{Act, AuditLog};
use relevo_relay::delivery::DeliveryHandle;
use relevo_relay::delivery::shaping::{Span, Suspended, is_provider_name};
use relevo_relay::queue_admin::{QueueAction, QueueAdmin, QueueAdminError};
use relevo_relay::suppressions::{Suppressions, UndoFields};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::plugin_admin::AuditedPlugins;

/// A request over the control socket.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum ControlRequest {
    /// A page of messages after an id.
    List { after: Option<String> },
    /// One message.
    Show { id: String },
    /// What it waits for.
    Why { id: String },
    /// Due at once.
    Retry { id: String },
    /// Not due.
    Hold { id: String },
    /// Due again.
    Release { id: String },
    /// Gone.
    Drop { id: String },
    /// Remove suppressions that rules added, of one tenant or of all.
    Undo { tenant: Option<String>, fields: UndoFields },
    /// Rates, connections and suspensions; of one domain.
    Shaping { domain: Option<String> },
    /// Suspends mail to a provider, which is named or found by a domain.
    Suspend {
        subject: String,
        provider: Option<String>,
        domain: Option<String>,
        span: String,
        reason: String,
    },
    /// Ends a suspension.
    Resume { id: String },
    /// Ends what refusals made of a provider's rate.
    Reset { provider: String },
    /// Where new addresses stand.
    Warmup {},
    /// Gives the shards of this node to the others, and waits until they serve them.
    Drain {},
    /// Takes them again.
    Undrain {},
    /// About plugins. `octets` of content follow the line.
    Plugin { action: relevo_policy::PluginAction, octets: usize },
}

/// The parts of the relay that answers need.
#[derive(Clone)]
pub(crate) struct Control {
    pub(crate) queue: QueueAdmin,
    pub(crate) delivery: DeliveryHandle,
    pub(crate) plugins: AuditedPlugins,
    pub(crate) audit: Arc<AuditLog>,
    pub(crate) suppressions: Arc<Suppressions>,
    /// None: the relay is alone.
    pub(crate) member: Option<Arc<Member>>,
}

const SOCKET: &str = "control.sock";
const MAX_REQUEST: u64 = 4 << 10;
const IDLE: Duration = Duration::from_secs(60);
/// For other nodes to serve what a node gave up: attempts end, leases are seen, logs are read.
const DRAIN: Duration = Duration::from_secs(120);
/// Between two looks how far that is.
const LOOK: Duration = Duration::from_millis(200);
/// For the content of a request to arrive.
const CONTENT: Duration = Duration::from_secs(300);

pub(crate) fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join(SOCKET)
}

/// Listens. The store's lock on the data directory makes sure that a socket left behind belongs to
/// nobody.
///
/// # Errors
/// The socket cannot be made, such as when its path has more than 107 octets.
pub(crate) fn bind(data_dir: &Path) -> io::Result<UnixListener> {
    let path = socket_path(data_dir);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers until the task is dropped, or the socket listens no more.
pub(crate) async fn serve(listener: UnixListener, control: Control) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(connection(stream, control.clone()))),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                tracing::error!(%error, "control accept: the socket listens no more");
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "control accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: UnixStream, control: Control) {
    let actor = match stream.peer_cred() {
        Ok(peer) => format!("socket uid {}", peer.uid()),
        Err(_) => "socket".to_owned(),
    };
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut read).take(MAX_REQUEST);
        let request = limited.read_until(b'\n', &mut line);
        if !matches!(tokio::time::timeout(IDLE, request).await, Ok(Ok(n)) if n > 0) {
            return;
        }
        // Cut off by the limit or by the other end: not a request, and what follows would be none
        // either.
        if !line.ends_with(b"\n") {
            return;
        }
        let answered = match serde_json::from_slice(&line) {
            Ok(ControlRequest::Plugin { action, octets }) => {
                let room = control.plugins.room(&action).map_err(|error| error.to_string());
                match content(&mut read, octets, room).await {
                    Ok(content) => {
                        control.plugins.act(&actor, action, content).await.map_err(|e| e.to_string())
                    }
                    Err(error) => {
                        // What follows is content that nobody wants.
                        let _ = write.write_all(format!("{}\n", json!({ "error": error })).as_bytes()).await;
                        return;
                    }
                }
            }
            Ok(request) => control.answer(&actor, request).await,
            Err(error) => Err(format!("not a request: {error}")),
        };
        let answer = match answered {
            Ok(value) => json!({ "ok": value }),
            Err(message) => json!({ "error": message }),
        };
        let mut text = answer.to_string();
        text.push('\n');
        if write.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// All of it, unless there is no room for it.
async fn content(
    read: &mut (impl AsyncReadExt + Unpin),
    octets: usize,
    room: Result<Room, String>,
) -> Result<Vec<u8>, String> {
    let room = room?;
    if octets > room.octets {
        return Err(room.to_string());
    }
    let mut content = vec![0; octets];
    match tokio::time::timeout(CONTENT, read.read_exact(&mut content)).await {
        Ok(Ok(_)) => Ok(content),
        _ => Err(format!("the content was cut off before its {octets} octets")),
    }
}

impl Control {
    async fn answer(&self, actor: &str, request: ControlRequest) -> Result<Value, String> {
        match request {
            ControlRequest::List { after } => {
                json_of(&self.queue.list(after.as_deref()).await.map_err(text)?)
            }
            ControlRequest::Show { id } => json_of(&self.queue.show(&id).await.map_err(text)?),
            ControlRequest::Why { id } => json_of(&self.queue.why(&id).await.map_err(text)?),
            ControlRequest::Retry { id } => self.act(actor, &id, QueueAction::Retry).await,
            ControlRequest::Hold { id } => self.act(actor, &id, QueueAction::Hold).await,
            ControlRequest::Release { id } => self.act(actor, &id, QueueAction::Release).await,
            ControlRequest::Drop { id } => self.act(actor, &id, QueueAction::Drop).await,
            ControlRequest::Undo { tenant, fields } => self.undo(actor, tenant, &fields).await,
            ControlRequest::Shaping { domain: None } => json_of(&self.delivery.shaping()),
            ControlRequest::Shaping { domain: Some(domain) } => {
                json_of(&self.delivery.shaping_of(&domain.to_ascii_lowercase()).await?)
            }
            ControlRequest::Suspend { subject, provider, domain, span, reason } => {
                let place = (provider, domain);
                self.suspend(actor, &subject, place, (&span, &reason)).await
            }
            ControlRequest::Resume { id } => self.resume(actor, &id).await,
            ControlRequest::Reset { provider } => {
                self.delivery.reset_rates(&provider);
                Ok(Value::Bool(true))
            }
            ControlRequest::Warmup {} => json_of(&self.delivery.warmups()),
            ControlRequest::Drain {} => self.drain(actor).await,
            ControlRequest::Undrain {} => {
                self.member()?.undrain();
                tracing::info!(actor, "cluster undrain");
                Ok(Value::Bool(true))
            }
            ControlRequest::Plugin { .. } => Err("content was expected".to_owned()),
        }
    }

    fn member(&self) -> Result<&Member, String> {
        self.member
            .as_deref()
            .ok_or_else(|| "the relay is alone: its configuration has no [cluster]".to_owned())
    }

    async fn drain(&self, actor: &str) -> Result<Value, String> {
        let member = self.member()?;
        member.drain()?;
        tracing::info!(actor, "cluster drain");
        let begun = Instant::now();
        while !member.drained().is_over() && begun.elapsed() < DRAIN {
            tokio::time::sleep(LOOK).await;
        }
        json_of(&member.drained())
    }

    async fn act(&self, actor: &str, id: &str, action: QueueAction) -> Result<Value, String> {
        self.queue.act(actor, id, action).await.map_err(text)?;
        Ok(Value::Bool(true))
    }

    /// Removes suppressions that rules added, and writes that to the audit log of each tenant.
    async fn undo(&self, actor: &str, tenant: Option<String>, fields: &UndoFields) -> Result<Value, String> {
        let filter = fields.filter().map_err(|mistake| mistake.to_string())?;
        let tenants = match tenant {
            Some(tenant) => vec![tenant],
            None if !filter.by_rule => return Err("name the tenant: --tenant".to_owned()),
            None => self.suppressions.rule_tenants(&filter).await.map_err(|error| error.to_string())?,
        };
        let (subject, mut answers) = (fields.subject(), Vec::new());
        for tenant in tenants {
            let undone = self.suppressions.undo(&tenant, &filter, fields.dry_run).await;
            if !fields.dry_run {
                let result = undone.as_ref().err().map_or("done".to_owned(), ToString::to_string);
                let action = "suppression undo";
                let act = Act { tenant: &tenant, actor, action, subject: &subject, result: &result };
                self.audit.write(act).await;
            }
            let undone = undone.map_err(|error| error.to_string())?;
            let addresses: Vec<&str> = undone.entries.iter().map(|entry| entry.address.as_str()).collect();
            answers.push(json!({
                "tenant": tenant,
                "count": undone.count,
                "has_more": undone.has_more,
                "addresses": addresses,
            }));
        }
        Ok(Value::Array(answers))
    }

    async fn suspend(
        &self,
        actor: &str,
        subject: &str,
        (provider, domain): (Option<String>, Option<String>),
        (span, reason): (&str, &str),
    ) -> Result<Value, String> {
        let subject: Suspended = subject.parse().map_err(|why| format!("`{subject}` {why}"))?;
        let span: Span = span.parse().map_err(|why| format!("`{span}` {why}"))?;
        let provider = match (provider, domain) {
            (Some(provider), _) if is_provider_name(&provider) => provider,
            (Some(provider), _) => return Err(format!("`{provider}` is no name of a provider")),
            (None, Some(domain)) => self.delivery.provider_of(&domain.to_ascii_lowercase()).await?,
            (None, None) => return Err("name the provider, or a domain of it".to_owned()),
        };
        let begun = self.delivery.suspend(subject, &provider, span.0, (actor, reason)).await;
        self.audit.write_suspension(actor, "shaping suspend", &begun).await;
        json_of(&begun)
    }

    async fn resume(&self, actor: &str, id: &str) -> Result<Value, String> {
        let ended = self.delivery.resume(id, actor).await;
        let ended = ended.ok_or_else(|| format!("there is no such suspension: `{id}`"))?;
        self.audit.write_suspension(actor, "shaping resume", &ended).await;
        json_of(&ended)
    }
}

fn json_of<T: Serialize>(value: &T) -> Result<Value, String> {
    serde_json::to_value(value).map_err(|error| error.to_string())
}

fn text(error: QueueAdminError) -> String {
    error.to_string()
}
