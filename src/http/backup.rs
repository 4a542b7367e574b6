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

/// Answers a backup. If the answer ends early, the file is incomplete, and its reader notices (`waypost check --backup`).
pub(super) async fn backup(
    _: Authorized<ReadBackup>,
    request: HttpRequest,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let mut head = HttpResponse::Ok();
    head.content_type("application/octet-stream")
        .insert_header((CONTENT_DISPOSITION, "attachment; filename=\"waypost.backup\""))
        .insert_header((CACHE_CONTROL, "no-store"));
    if request.method() == Method::HEAD {
        return Ok(without_body(head));
    }
    let Some(mut pieces) = node.backups.begin((node.clock)()) else {
        return Err(Problem::not_ready("this node is making another backup; try again when it is done"));
    };
    let first = match tokio::time::timeout(node.timeout, pieces.recv()).await {
        Ok(Some(Ok(piece))) => piece,
        Ok(Some(Err(error))) => return Err(Problem::not_ready(error.to_string())),
        Ok(None) | Err(_) => return Err(Problem::not_ready("no leader of the cluster could be read from in time")),
    };
    let first = io::Result::Ok(Bytes::from(first));
    let rest = stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?;
        Some((piece.map(Bytes::from).map_err(io::Error::other), pieces))
    });
    Ok(head.streaming(futures_util::StreamExt::chain(stream::iter([first]), rest)))
}
