//! The control channel of a running relay: a Unix socket in the data directory, mode 0600. One JSON
//! request per line, one JSON answer per line: `{"ok": ...}` or `{"error": "..."}`.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use relevo_policy::Room;
use relevo_queue::{
    Acted, Delivery, ItemId, ItemView, Millis, OperatorAction, Queue, RecipientState, StoreError,
};
use relevo_relay::audit::{Act, AuditLog};
use relevo_relay::clock::{Clock, timestamp};
use relevo_relay::delivery::DeliveryHandle;
use relevo_relay::delivery::shaping::{Span, Suspended, is_provider_name};
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
    /// About plugins. `octets` of content follow the line.
    Plugin { action: relevo_policy::PluginAction, octets: usize },
}

/// Says what each recipient of a message waits for.
pub(crate) type Explain = Arc<dyn Fn(&ItemView) -> Value + Send + Sync>;

/// The parts of the relay that answers need.
#[derive(Clone)]
pub(crate) struct Control {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) explain: Explain,
    pub(crate) delivery: DeliveryHandle,
    pub(crate) plugins: AuditedPlugins,
    pub(crate) audit: Arc<AuditLog>,
    pub(crate) suppressions: Arc<Suppressions>,
}

const SOCKET: &str = "control.sock";
const PAGE: usize = 200;
const MAX_REQUEST: u64 = 4 << 10;
const IDLE: Duration = Duration::from_secs(60);
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
                let after = after.map(|id| parse(&id)).transpose()?;
                let items = self.queue.list(after, PAGE).await.map_err(text)?;
                Ok(Value::Array(items.iter().map(summary).collect()))
            }
            ControlRequest::Show { id } => Ok(details(&self.find(&id).await?)),
            ControlRequest::Why { id } => {
                let view = self.find(&id).await?;
                Ok((self.explain)(&view))
            }
            ControlRequest::Retry { id } => self.act(actor, &id, OperatorAction::Retry).await,
            ControlRequest::Hold { id } => self.act(actor, &id, OperatorAction::Hold).await,
            ControlRequest::Release { id } => self.act(actor, &id, OperatorAction::Release).await,
            ControlRequest::Drop { id } => self.act(actor, &id, OperatorAction::Drop).await,
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
            ControlRequest::Plugin { .. } => Err("content was expected".to_owned()),
        }
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

    async fn find(&self, id: &str) -> Result<ItemView, String> {
        let id = parse(id)?;
        self.queue.item(id).await.map_err(text)?.ok_or_else(|| gone(id))
    }

    /// Acts on a message, and writes it to the audit log of its tenant.
    async fn act(&self, actor: &str, id: &str, action: OperatorAction) -> Result<Value, String> {
        let id = parse(id)?;
        let found = self.queue.item(id).await;
        // A record that cannot be read says no tenant, and is dropped all the same.
        let tenant = found.as_ref().ok().and_then(|view| view.as_ref()).map(|view| view.meta.tenant.clone());
        let done = self.act_on(id, found, action).await;
        if let Some(tenant) = tenant {
            let result = done.as_ref().err().map_or("done", String::as_str);
            let (subject, action) = (id.to_string(), name(action));
            self.audit.write(Act { tenant: &tenant, actor, action, subject: &subject, result }).await;
        }
        done
    }

    async fn act_on(
        &self,
        id: ItemId,
        found: Result<Option<ItemView>, StoreError>,
        action: OperatorAction,
    ) -> Result<Value, String> {
        if matches!(action, OperatorAction::Retry | OperatorAction::Release)
            && let Some(view) = found.map_err(text)?
        {
            let mut open = view.deliveries.iter().map(|d| &d.delivery).filter(|d| pending(d) > 0).peekable();
            if action == OperatorAction::Retry && open.peek().is_some() && open.all(|d| d.held) {
                return Err(format!("{id} is held: `relevo queue release` lets it go"));
            }
            self.delivery.reset_backoff(view.deliveries.iter().map(|d| &d.delivery.key));
        }
        let acted = self.queue.act(id, action, self.clock.now(), Vec::new()).await.map_err(text)?;
        tracing::info!(%id, ?action, ?acted, "operator");
        match acted {
            Acted::Done => Ok(Value::Bool(true)),
            Acted::BeingAttempted | Acted::Begun => Err(being_attempted(id)),
            Acted::NotFound => Err(gone(id)),
        }
    }
}

fn json_of<T: Serialize>(value: &T) -> Result<Value, String> {
    serde_json::to_value(value).map_err(|error| error.to_string())
}

/// The command, as the audit log names it.
fn name(action: OperatorAction) -> &'static str {
    match action {
        OperatorAction::Retry => "queue retry",
        OperatorAction::Hold => "queue hold",
        OperatorAction::Release => "queue release",
        OperatorAction::Drop => "queue drop",
        OperatorAction::Cancel => "queue cancel",
        OperatorAction::Reschedule(_) => "queue reschedule",
    }
}

fn parse(id: &str) -> Result<ItemId, String> {
    id.parse().map_err(|error| format!("`{id}`: {error}"))
}

fn gone(id: ItemId) -> String {
    format!("{id} is not in the queue: it was delivered, bounced or dropped, or never here")
}

fn being_attempted(id: ItemId) -> String {
    format!(
        "{id} is being attempted now, that part of it is not dropped: hold it, and drop it when the attempt is over"
    )
}

fn text(error: StoreError) -> String {
    error.to_string()
}

fn summary(view: &ItemView) -> Value {
    let meta = &view.meta;
    let open = || view.deliveries.iter().map(|d| &d.delivery).filter(|d| pending(d) > 0);
    json!({
        "id": view.id.to_string(),
        "tenant": meta.tenant,
        "from": meta.sender,
        "subject": meta.subject,
        "size": meta.size,
        "accepted_at": timestamp(meta.accepted_at),
        "expires_at": timestamp(meta.expires_at),
        "pending": open().map(pending).sum::<usize>(),
        "next_attempt": open().filter_map(next_attempt).min().map(timestamp),
        "held": open().any(|d| d.held),
    })
}

/// Recipients that are still to be delivered to.
fn pending(delivery: &Delivery) -> usize {
    delivery.recipients.iter().filter(|r| r.state == RecipientState::Pending).count()
}

/// None: there will be none, or not before it is released.
fn next_attempt(delivery: &Delivery) -> Option<Millis> {
    (pending(delivery) > 0 && !delivery.held).then_some(delivery.due_at)
}

fn details(view: &ItemView) -> Value {
    let mut object = summary(view);
    let deliveries: Vec<Value> = view.deliveries.iter().map(delivery).collect();
    object["message_id"] = Value::String(view.meta.message_id.clone());
    object["source"] = Value::String(view.meta.source.clone());
    object["deliveries"] = Value::Array(deliveries);
    object
}

fn delivery(view: &relevo_queue::DeliveryView) -> Value {
    let d = &view.delivery;
    let recipients: Vec<Value> =
        d.recipients.iter().map(|r| json!({ "address": r.address, "state": state(&r.state) })).collect();
    let last = d.last.as_ref().map(|l| {
        json!({
            "at": timestamp(l.at),
            "host": l.host,
            "ip": l.ip.map(|ip| ip.to_string()),
            "code": l.code,
            "status": l.status,
            "text": l.text,
        })
    });
    json!({
        "domain": d.key.domain,
        "priority": d.priority,
        "attempts": d.attempts,
        "held": d.held,
        "hold_reason": d.hold_reason,
        "next_attempt": next_attempt(d).map(timestamp),
        "being_attempted": view.leased_until.is_some(),
        "recipients": recipients,
        "last": last,
    })
}

fn state(state: &RecipientState) -> &'static str {
    match state {
        RecipientState::Pending => "pending",
        RecipientState::Delivered => "delivered",
        RecipientState::Failed { .. } => "failed",
    }
}
