//! `GET /api/v1/backup`: everything that the cluster has stored, as one file.

use std::io;

use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;

use super::answer::without_body;
use super::authorized::{Authorized, ReadBackup};
use super::problem::Problem;
use super::state::NodeState;
use crate::app::{Backup, Principal};

/// Answers a backup. If the answer ends early, the file is incomplete, and its reader notices (`waypost check --backup`).
#[utoipa::path(get, path = "/api/v1/backup", operation_id = "getBackup", tag = "Administration",
    responses((status = 200, description = "The backup, for `waypost restore`", body = Vec<u8>, content_type = "application/octet-stream")))]
pub(super) async fn backup(
    caller: Authorized<ReadBackup>,
    request: HttpRequest,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    answer(&caller.principal, &request, &node).await
}

/// A backup as an answer.
pub(super) async fn answer(
    principal: &Principal,
    request: &HttpRequest,
    node: &NodeState,
) -> Result<HttpResponse, Problem> {
    let mut head = HttpResponse::Ok();
    head.content_type("application/octet-stream")
        .insert_header((CONTENT_DISPOSITION, "attachment; filename=\"waypost.backup\""))
        .insert_header((CACHE_CONTROL, "no-store"));
    if request.method() == Method::HEAD {
        return Ok(without_body(head));
    }
    let Backup { first, rest } = node.app.backup(principal).await?;
    let first = io::Result::Ok(Bytes::from(first));
    let rest = stream::unfold(rest, |mut pieces| async move {
        let piece = pieces.recv().await?;
        Some((piece.map(Bytes::from).map_err(io::Error::other), pieces))
    });
    Ok(head.streaming(futures_util::StreamExt::chain(stream::iter([first]), rest)))
}
