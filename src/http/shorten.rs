//! `POST /shorten`: create a link.

use std::time::Instant;

use actix_web::http::header::{CONTENT_TYPE, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use waypost_protocol::digest::{IdempotencyKey, fingerprint};
use waypost_protocol::messages::{CreateLink, Created};
use waypost_protocol::{CallError, Code, LinkKey, Target};
use waypost_runtime::Destination;

use super::link_json::{LinkJson, parse_time};
use super::links::get_link;
use super::permit::Permit;
use super::problem::Problem;
use super::state::{NodeState, WorkerState};

/// The longest `Idempotency-Key`, in bytes. Only a hash of it is kept.
const IDEMPOTENCY_KEY_MAX: usize = 255;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    #[serde(alias = "url")]
    long_url: String,
    custom_slug: Option<String>,
    valid_until: Option<String>,
    #[serde(default)]
    find_if_exists: bool,
}

/// Creates a link from a JSON object, or from a body that is just the URL.
pub(super) async fn shorten(
    permit: Permit,
    request: HttpRequest,
    body: web::Bytes,
    worker: web::Data<WorkerState>,
) -> Result<HttpResponse, Problem> {
    let node = &worker.node;
    let message = build(&request, &body, node, permit.key)?;
    let wanted = (message.slug.clone(), message.target.clone(), message.valid_until);
    node.writable().map_err(waypost_protocol::CallError::from)?;
    let (link, mut response) = match create(node, message).await? {
        Created::New(link) => (link, HttpResponse::Created()),
        Created::Existing(link) => (link, HttpResponse::Ok()),
        Created::SlugTaken => {
            let (slug, target, valid_until) = wanted;
            let slug = slug.as_ref().map_or("", |slug| slug.as_str());
            // Read where it was refused, so that the link is seen that was in the way.
            let link = get_link(&worker, slug, true).await.ok().map(|view| view.link);
            let same = link.is_some_and(|link| link.target == target && link.valid_until == valid_until);
            return Err(Problem::slug_taken(slug, same.then(|| node.address.short_url(&request, slug))));
        }
        Created::IdempotencyMismatch => return Err(Problem::idempotency_mismatch()),
    };
    let json = LinkJson::new(&link, &node.address.short_url(&request, link.key.code.as_str()));
    Ok(response.insert_header((LOCATION, json.short_url.clone())).json(json))
}

/// Creates a link.
async fn create(node: &NodeState, message: CreateLink) -> Result<Created, CallError> {
    let slug = message.slug.clone();
    let (created, destination) = node.links.call_with_destination(message, node.timeout).await?;
    if let Some(slug) = slug.filter(|_| destination != Destination::Local) {
        claimed_elsewhere(node, &LinkKey::new(slug));
    }
    Ok(created)
}

/// An alias was claimed through this node, and its leader has applied that. If it led elsewhere before, this node may not have heard yet that
/// it does not any more.
fn claimed_elsewhere(node: &NodeState, key: &LinkKey) {
    let shard = key.shard(node.shards);
    let own = node.groups.shard(shard).filter(|_| node.groups.holds(shard));
    // What cannot be read is for the leader to say.
    let clean = own.is_some_and(|group| matches!(group.read(|machine| machine.get(key)), Ok(None)));
    if !clean {
        node.view.changed_here(key, Instant::now());
    }
}

fn build(request: &HttpRequest, body: &[u8], node: &NodeState, created_by: u32) -> Result<CreateLink, Problem> {
    let body = parse_body(request, body)?;
    let own = node.address.own_hosts(request);
    let target = Target::parse(&body.long_url, &own, node.url_max_bytes).map_err(|error| Problem::bad_url(&error))?;
    let slug = body.custom_slug.as_deref().map(Code::parse_slug).transpose().map_err(|e| Problem::bad_slug(&e))?;
    let valid_until = body.valid_until.as_deref().map(|text| parse_time(text, (node.clock)())).transpose()?;
    if slug.is_some() && body.find_if_exists {
        return Err(Problem::invalid(
            "findIfExists",
            "findIfExists finds links with generated codes; leave it out when you ask for a customSlug",
        ));
    }
    let print = fingerprint(&[
        target.as_str().as_bytes(),
        slug.as_ref().map_or(b"", |slug| slug.as_bytes()),
        &valid_until.map_or(0, |until| until.0).to_le_bytes(),
        &[u8::from(body.find_if_exists)],
    ]);
    let idempotency = idempotency_key(request, created_by)?.map(|key| (key, print));
    Ok(CreateLink {
        shard: CreateLink::shard_for(slug.as_ref(), &target, node.shards),
        slug,
        target,
        valid_until,
        find_existing: body.find_if_exists,
        created_by,
        idempotency,
    })
}

fn idempotency_key(request: &HttpRequest, owner: u32) -> Result<Option<IdempotencyKey>, Problem> {
    let Some(value) = request.headers().get("idempotency-key") else { return Ok(None) };
    match value.to_str() {
        Ok(text) if !text.is_empty() && text.len() <= IDEMPOTENCY_KEY_MAX => Ok(Some(IdempotencyKey::of(owner, text))),
        _ => Err(Problem::malformed(format!(
            "Idempotency-Key has to be 1 to {IDEMPOTENCY_KEY_MAX} visible ASCII characters"
        ))),
    }
}

/// The content type without its parameters, in lower case.
fn essence(request: &HttpRequest) -> Option<String> {
    let content_type = request.headers().get(CONTENT_TYPE)?.to_str().unwrap_or_default();
    Some(content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

fn is_json(essence: &str) -> bool {
    essence == "application/json" || essence.ends_with("+json")
}

/// The body without the byte order mark that some editors put before a text.
fn unmarked(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

fn parse_body(request: &HttpRequest, body: &[u8]) -> Result<Body, Problem> {
    let body = unmarked(body);
    let looks_like_json = || body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    match essence(request).as_deref() {
        Some(json) if is_json(json) => parse_json(body),
        Some("text/plain") => parse_text(body),
        None if looks_like_json() => parse_json(body),
        None => parse_text(body),
        Some(other) => Err(Problem::unsupported_media_type(format!(
            "\"{other}\" is not read here; send application/json, or text/plain with just the URL"
        ))),
    }
}

/// The JSON body of a route that reads nothing else.
pub(super) fn parse_json_only<T: DeserializeOwned>(request: &HttpRequest, body: &[u8]) -> Result<T, Problem> {
    let body = unmarked(body);
    match essence(request).as_deref() {
        None => parse_json(body),
        Some(json) if is_json(json) => parse_json(body),
        Some(other) => {
            Err(Problem::unsupported_media_type(format!("\"{other}\" is not read here; send application/json")))
        }
    }
}

fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::malformed(format!("the JSON body cannot be used: {error}")))
}

fn parse_text(body: &[u8]) -> Result<Body, Problem> {
    let text = std::str::from_utf8(body)
        .map_err(|_| Problem::malformed("the body is not UTF-8; send the URL as plain text"))?;
    // `Target::parse` drops the ends of lines that `curl -d @file` and editors leave.
    Ok(Body { long_url: text.to_owned(), custom_slug: None, valid_until: None, find_if_exists: false })
}
