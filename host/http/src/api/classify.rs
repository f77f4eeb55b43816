//! `POST /classify`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use relevo_mailkit::classification::{Classification, ReceiverReply};
use serde::{Deserialize, Serialize};

use super::ApiServices;
use super::auth::Caller;
use super::body;
use crate::bearer::Proven;
use crate::error::RequestError;

/// Replies in one request.
const MAX_REPLIES: usize = 100;
/// Octets of a reply, and of each other field.
const MAX_TEXT: usize = 16 << 10;
const MAX_FIELD: usize = 255;

/// The body of `POST /classify`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ClassifyFields {
    /// At most 100.
    replies: Vec<ReplyFields>,
}

/// A negative reply of a mail server. What is absent is looked for in the text.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplyFields {
    /// The reply, a line of a log, or a Diagnostic-Code (RFC 3464). At most 16 KiB, of which the
    /// first 4 KiB count.
    text: String,
    /// The name of the mail server.
    #[serde(default)]
    mx: Option<String>,
    /// The reply code.
    #[serde(default)]
    code: Option<u16>,
    /// The enhanced status code, such as `5.1.1`.
    #[serde(default)]
    status: Option<String>,
    /// What was answered: `CONNECT`, `EHLO`, `STARTTLS`, `AUTH`, `MAIL`, `RCPT`, `DATA` or `DOT`.
    #[serde(default)]
    command: Option<String>,
}

/// One answer for each reply, in the same order.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ClassificationList {
    object: &'static str,
    data: Vec<Classification>,
}

/// Says what replies of mail servers mean.
#[utoipa::path(
    post,
    path = "/classify",
    tag = "events",
    request_body = ClassifyFields,
    responses((status = 200, description = "What each reply means.", body = ClassificationList)),
)]
pub(super) async fn classify(
    State(services): State<ApiServices>,
    Proven(_): Proven<Caller>,
    body: Bytes,
) -> Result<Json<ClassificationList>, RequestError> {
    let ClassifyFields { replies } = body::read(&body)?;
    if replies.is_empty() || replies.len() > MAX_REPLIES {
        return Err(RequestError::invalid("replies", format!("must have 1 to {MAX_REPLIES} replies")));
    }
    let mut data = Vec::with_capacity(replies.len());
    for (index, reply) in replies.into_iter().enumerate() {
        let reply = checked(reply, index)?;
        let answer = services.classify.classify(&reply).ok_or_else(RequestError::unavailable)?;
        data.push(Classification::clone(&answer));
    }
    Ok(Json(ClassificationList { object: "list", data }))
}

fn checked(reply: ReplyFields, index: usize) -> Result<ReceiverReply, RequestError> {
    let invalid = |field: &str, message: String| {
        Err(RequestError::invalid(format!("replies[{index}].{field}"), message))
    };
    if reply.text.len() > MAX_TEXT {
        return invalid("text", format!("must have at most {MAX_TEXT} octets"));
    }
    if reply.code.is_some_and(|code| !(400..600).contains(&code)) {
        return invalid("code", "must be from 400 to 599".to_owned());
    }
    let fields = [("mx", &reply.mx), ("status", &reply.status), ("command", &reply.command)];
    for (name, field) in fields {
        if field.as_ref().is_some_and(|field| field.len() > MAX_FIELD) {
            return invalid(name, format!("must have at most {MAX_FIELD} octets"));
        }
    }
    let ReplyFields { text, mx, code, status, command } = reply;
    Ok(ReceiverReply { host: mx, code, status, command, text, own: Vec::new() })
}
