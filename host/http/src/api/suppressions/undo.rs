//! `POST /suppressions/undo`: what rules added in a window of time is removed.

use axum::body::Bytes;
use axum::extract::State;
use axum::{Extension, Json};
use relevo_relay::suppressions::{UndoFields, UndoMistake};
use serde::Serialize;

use super::super::ApiServices;
use super::super::admission::Subject;
use super::super::auth::Caller;
use super::super::body;
use super::{SuppressionView, view};
use crate::bearer::Proven;
use crate::error::RequestError;

/// What was undone, or would be.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in super::super) struct UndoneView {
    object: &'static str,
    /// Nothing was removed.
    dry_run: bool,
    /// How many entries were removed, or would be.
    count: usize,
    /// Entries are left: a request removes 10,000 at most. Send it again.
    has_more: bool,
    /// The first 100 of these entries.
    data: Vec<SuppressionView>,
}

impl From<UndoMistake> for RequestError {
    fn from(UndoMistake { param, message }: UndoMistake) -> Self {
        Self::invalid(param, message)
    }
}

/// Removes the entries that rules added in a window of time.
#[utoipa::path(
    post,
    path = "/suppressions/undo",
    tag = "suppressions",
    request_body = UndoFields,
    responses((status = 200, description = "What was undone, or would be.", body = UndoneView)),
)]
pub(in super::super) async fn undo(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    body: Bytes,
) -> Result<(Extension<Subject>, Json<UndoneView>), RequestError> {
    let fields: UndoFields = body::read(&body)?;
    let undone = services.suppressions.undo(&caller.tenant, &fields.filter()?, fields.dry_run).await?;
    let answer = UndoneView {
        object: "suppressions_undone",
        dry_run: fields.dry_run,
        count: undone.count,
        has_more: undone.has_more,
        data: undone.entries.into_iter().map(view).collect(),
    };
    Ok((Extension(Subject(fields.subject())), Json(answer)))
}
