//! Signing in, with the admin key or a one-time link, and signing out.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, RETRY_AFTER, SET_COOKIE, USER_AGENT};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use waypost_click_counter::Agent;

use super::context::{context, path_of_ours};
use super::cookies;
use super::guard::{Change, keep_cookie, known_session};
use super::reply::{go_to, with_status};
use crate::app::{LinkRefused, NotAdminKey, SessionToken, SignIn, SignInError};
use crate::http::evidence::Sender;
use crate::http::problem::Problem;
use crate::http::state::NodeState;
use crate::limits::SIGN_IN_OF_CLIENT_EVERY;
use crate::ui::{Draft, DraftView, Form, OneTimeView, Section, SignInView};

/// Has the browser remove what it has cached of this origin.
const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

/// The longest address to go on to, in bytes: a list with all its filters.
const NEXT_BYTES_MAX: usize = 4096;

/// The query of the page.
#[derive(Deserialize)]
pub(super) struct Query {
    /// The page to go on to.
    #[serde(default)]
    next: String,
}

/// Why the page is shown again: the key of the text, and the status.
type Refused = (&'static str, StatusCode);

/// The page with the form.
pub(super) async fn form(
    request: HttpRequest,
    query: web::Query<Query>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    if known_session(&request, &node).is_some() {
        return Ok(go_to(&next_page(&node, &query.next)));
    }
    show(&request, &node, &query.next, None, None)
}

/// The page with the form, as the answer to another form that arrived without a session: it is kept.
pub(super) fn instead_of(request: &HttpRequest, node: &NodeState, draft: Draft) -> Result<HttpResponse, Problem> {
    let back = context(request, node, Section::None).here;
    show(request, node, &back, None, Some(draft))
}

/// Signs in with the admin key.
pub(super) async fn with_key(
    request: HttpRequest,
    body: web::Bytes,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let dashboard = node.dashboard();
    let form = Form::read(&body);
    let (key, next) = (form.value("key").trim(), form.value("next"));
    let draft = Draft::kept(&form, |action| path_of_ours(dashboard.path(), action));
    if !dashboard.may_try(&request) {
        return show(&request, &node, next, Some(("sign-in.too-many", StatusCode::TOO_MANY_REQUESTS)), draft);
    }
    let signed_in = sign_in(&request, &node, SignIn::Key(key)).await;
    if matches!(signed_in, Err(SignInError::Key(NotAdminKey::Wrong | NotAdminKey::OfCommands))) {
        dashboard.attempts.was_wrong();
        tracing::warn!("somebody has tried to sign in to the dashboard with a wrong key");
    } else {
        dashboard.attempts.was_not_wrong(dashboard.client(&request));
    }
    match signed_in {
        Ok(token) => enter(&request, &node, &token, &next_page(&node, next), draft).await,
        Err(error) => show(&request, &node, next, Some(why(&error)), draft),
    }
}

/// The page of a one-time link. It does not use the link up: browsers and chats fetch pages that nobody has asked for yet.
pub(super) async fn link(
    request: HttpRequest,
    path: web::Path<String>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let secret = SessionToken::parse(&path).ok_or(LinkRefused::Over);
    match secret.and_then(|secret| node.app.check_one_time_link(&secret, &Sender(&request))) {
        Ok(()) => {
            let cx = context(&request, &node, Section::None);
            with_status(StatusCode::OK, &request, &OneTimeView { cx, secret: path.into_inner() })
        }
        Err(refused) => show(&request, &node, "", Some(why(&refused.into())), None),
    }
}

/// Signs in with a one-time link, and uses it up.
pub(super) async fn with_link(
    request: HttpRequest,
    path: web::Path<String>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let signed_in = match SessionToken::parse(&path) {
        Some(secret) => sign_in(&request, &node, SignIn::Link(&secret)).await,
        None => Err(LinkRefused::Over.into()),
    };
    match signed_in {
        Ok(token) => enter(&request, &node, &token, &next_page(&node, ""), None).await,
        Err(error) => show(&request, &node, "", Some(why(&error)), None),
    }
}

/// Signs out: ends the session, and has the browser forget what it has seen.
pub(super) async fn out(
    signed_in: Change,
    request: HttpRequest,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    node.app.end_session(&signed_in.principal, signed_in.session.id).await?;
    Ok(left(&request, &node, signed_in.session.secure))
}

/// The answer to a browser whose session has ended.
pub(super) fn left(request: &HttpRequest, node: &NodeState, secure: bool) -> HttpResponse {
    keep_cookie(request);
    let path = node.dashboard().path();
    let mut response = go_to(&format!("{path}/sign-in"));
    let headers = response.headers_mut();
    headers.insert(CLEAR_SITE_DATA, actix_web::http::header::HeaderValue::from_static("\"cache\""));
    headers.append(SET_COOKIE, cookies::forget(path, secure));
    response
}

async fn sign_in(request: &HttpRequest, node: &NodeState, with: SignIn<'_>) -> Result<SessionToken, SignInError> {
    let secure = node.address.is_https(request);
    node.app.sign_in(with, &Sender(request), secure, &device(request)).await
}

/// Gives the browser its token, and ends the session that it had before. It goes on to a page, or gets the form that it has sent without a session.
async fn enter(
    request: &HttpRequest,
    node: &NodeState,
    token: &SessionToken,
    next: &str,
    draft: Option<Draft>,
) -> Result<HttpResponse, Problem> {
    if let Some(before) = known_session(request, node) {
        // It ends by itself, if the cluster cannot end it now.
        let _ = node.app.end_session(&before.principal, before.id).await;
    }
    let dashboard = node.dashboard();
    let cookie = cookies::keep(dashboard.path(), token, node.address.is_https(request), dashboard.session_max());
    let mut response = match draft {
        None => go_to(next),
        Some(draft) => {
            let cx = context(request, node, Section::Elsewhere);
            with_status(StatusCode::OK, request, &DraftView { cx, draft, next: next.to_owned() })?
        }
    };
    response.headers_mut().append(SET_COOKIE, cookie);
    Ok(response)
}

fn show(
    request: &HttpRequest,
    node: &NodeState,
    next: &str,
    refused: Option<Refused>,
    draft: Option<Draft>,
) -> Result<HttpResponse, Problem> {
    let (error, status) = match refused {
        Some((error, status)) => (Some(error), status),
        // The answer to a form that has nothing to do with signing in.
        None if draft.is_some() => (None, StatusCode::UNAUTHORIZED),
        None => (None, StatusCode::OK),
    };
    let cx = context(request, node, Section::None);
    let view = SignInView { cx, has_key: node.app.has_admin_key(), next: next_page(node, next), error, draft };
    let mut response = with_status(status, request, &view)?;
    if status == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert(RETRY_AFTER, SIGN_IN_OF_CLIENT_EVERY.as_secs().into());
    }
    Ok(response)
}

fn why(error: &SignInError) -> Refused {
    match error {
        SignInError::Key(NotAdminKey::Wrong) => ("sign-in.wrong", StatusCode::FORBIDDEN),
        SignInError::Key(NotAdminKey::OfCommands) => ("sign-in.of-commands", StatusCode::FORBIDDEN),
        SignInError::Key(NotAdminKey::NoneSet) => ("sign-in.no-key", StatusCode::FORBIDDEN),
        SignInError::Link(LinkRefused::Over) => ("sign-in.link-over", StatusCode::GONE),
        SignInError::Link(LinkRefused::NotHere) => ("sign-in.link-not-here", StatusCode::FORBIDDEN),
        SignInError::Link(LinkRefused::OtherAccount) => ("sign-in.link-other-account", StatusCode::FORBIDDEN),
        SignInError::NotYet(_) => ("sign-in.not-yet", StatusCode::CONFLICT),
        SignInError::Call(_) => ("sign-in.unavailable", StatusCode::SERVICE_UNAVAILABLE),
    }
}

/// The page to go on to: one of the dashboard, and not one of these.
fn next_page(node: &NodeState, next: &str) -> String {
    let base = node.dashboard().path();
    let page = path_of_ours(base, next);
    let signs = page.strip_prefix(base).is_some_and(|below| below.starts_with("/sign-"));
    if signs || next.len() > NEXT_BYTES_MAX { format!("{base}/") } else { page }
}

/// The browser and the system of a request, as in "Firefox (Linux)".
fn device(request: &HttpRequest) -> String {
    let text = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let agent = Agent::of(text);
    if agent.bot || agent == Agent::UNNAMED {
        // A program says what it is in its first word.
        let word = text.split(['/', ' ']).next().unwrap_or_default();
        return word.chars().filter(char::is_ascii_graphic).collect();
    }
    match agent.os_name() {
        "" => agent.browser_name().to_owned(),
        system => format!("{} ({system})", agent.browser_name()),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_device_is_named_by_its_browser_and_its_system() {
        for (agent, expected) in [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0", "Firefox (Linux)"),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 \
                 Mobile/15E148 Safari/604.1",
                "Safari (iOS)",
            ),
            ("curl/8.5.0", "curl"),
            ("", ""),
        ] {
            let request = TestRequest::default().insert_header((USER_AGENT, agent)).to_http_request();
            assert_eq!(device(&request), expected, "{agent}");
        }
        assert_eq!(device(&TestRequest::default().to_http_request()), "");
    }
}
