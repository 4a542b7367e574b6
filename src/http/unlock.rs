//! The passwords of protected links: what a visitor sends, and whether it is the right one.

use std::time::Instant;

use actix_web::HttpRequest;
use actix_web::web::Payload;
use utoipa::ToSchema;
use waypost_protocol::{KeyHash, Password, PasswordHash};

use super::body::essence;
use super::problem::Problem;
use super::state::WorkerState;
use super::visitor::limited_client;

/// The longest form that is read, in bytes: the longest password, with each of its bytes escaped.
const FORM_BYTES_MAX: usize = 4096;

const FORM: &str = "application/x-www-form-urlencoded";

/// The form of the page of a protected link.
#[derive(ToSchema)]
#[schema(as = PasswordForm)]
pub(super) struct Form {
    /// The password of the link. One that no link can have is a wrong one.
    #[schema(format = Password)]
    pub(super) password: String,
}

/// Reads the form of a request.
///
/// # Errors
/// If it has none, or one that is too long or has no password.
pub(super) async fn given(request: &HttpRequest, body: Payload) -> Result<Form, Problem> {
    if essence(request)?.as_deref() != Some(FORM) {
        return Err(Problem::unsupported_media_type(format!("only the password of a link is read here; send {FORM}")));
    }
    let body = match body.to_bytes_limited(FORM_BYTES_MAX).await {
        Ok(body) => body.map_err(|error| Problem::malformed(error.to_string()))?,
        Err(_) => return Err(Problem::form_too_large(FORM_BYTES_MAX)),
    };
    let password = form_urlencoded::parse(&body).find(|(name, _)| name == "password");
    let password = password.ok_or_else(|| Problem::malformed("the form has no field \"password\""))?.1.into_owned();
    Ok(Form { password })
}

/// Lets a visitor pass who has given the right password of a link.
///
/// # Errors
/// If none was given, or a wrong one, or too many wrong ones before.
pub(super) async fn pass(
    request: &HttpRequest,
    worker: &WorkerState,
    link: KeyHash,
    hash: &PasswordHash,
    given: Option<&str>,
) -> Result<(), Problem> {
    let given = given.ok_or_else(Problem::protected_link)?;
    let (node, client) = (&worker.node, limited_client(&worker.visitors, request.headers(), request.peer_addr()));
    if !node.attempts.take(client, link, Instant::now()) {
        return Err(Problem::too_many_passwords());
    }
    // What cannot be a password is a wrong one.
    let Ok(password) = Password::parse(given) else { return Err(Problem::wrong_password()) };
    let checked = node.app.is_password(&password, hash).await;
    if checked != Ok(false) {
        node.attempts.was_not_wrong(client, link);
    }
    if checked? { Ok(()) } else { Err(Problem::wrong_password()) }
}
