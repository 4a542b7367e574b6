//! `POST /api/v1/bulk/links`: one change of all links that fit a filter. And the answer to every sweep, such as that of a tag.
//!
//! A sweep goes on while its client reads the answer: as NDJSON it tells how far it is, as JSON it ends with one object, before which blank lines keep the
//! connection open.

use std::collections::VecDeque;
use std::time::Duration;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;
use waypost_protocol::LinkKey;
use waypost_protocol::listing::{LinkFilter, Matches};
use waypost_protocol::properties::TAGS_MAX;

use super::accept::wants_lines;
use super::authorized::{Authorized, WriteLinks};
use super::body::parse_json_only;
use super::bulk::BULK_REQUESTS_MAX;
use super::link_json::{GivenEdit, host_text};
use super::list::{SweepQuery, numbers};
use super::problem::{Document, Problem};
use super::state::NodeState;
use crate::app::{ChangeError, ListRequest, Principal, Sweep, SweepChange, SweepStep, TagEdit};

/// The most failures that the JSON answer lists. The lines of NDJSON have all of them.
const FAILURES_MAX: usize = 100;

/// How often links are listed again if that fails.
const TRIES_MAX: u32 = 10;

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// One change of many links.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
#[schema(as = SweepRequest)]
pub(super) enum GivenSweep {
    /// Edits the links.
    Edit {
        /// The changes, as for one link. May be empty if tags are added or removed.
        #[serde(default)]
        #[schema(required = false)]
        changes: Box<GivenEdit>,
        /// Tags that the links get beside those that they have.
        #[serde(default, rename = "addTags")]
        #[schema(required = false, max_items = 32)]
        add_tags: Vec<String>,
        /// Tags that the links lose, compared without case.
        #[serde(default, rename = "removeTags")]
        #[schema(required = false, max_items = 32)]
        remove_tags: Vec<String>,
        /// Change nothing, and tell how many links fit.
        #[serde(default, rename = "dryRun")]
        #[schema(required = false)]
        dry_run: bool,
        /// All links are meant if the query has no filter. Without it, such a request is refused.
        #[serde(default)]
        #[schema(required = false)]
        all: bool,
    },
    /// Deletes the links.
    Delete {
        /// Change nothing, and tell how many links fit.
        #[serde(default, rename = "dryRun")]
        #[schema(required = false)]
        dry_run: bool,
        /// All links are meant if the query has no filter. Without it, such a request is refused.
        #[serde(default)]
        #[schema(required = false)]
        all: bool,
    },
}

impl GivenSweep {
    fn options(&self) -> (bool, bool) {
        match self {
            Self::Edit { dry_run, all, .. } | Self::Delete { dry_run, all } => (*dry_run, *all),
        }
    }

    fn change<'a>(&'a self, own_hosts: &'a [waypost_protocol::OwnHost]) -> Result<SweepChange<'a>, Problem> {
        let Self::Edit { changes, add_tags, remove_tags, .. } = self else { return Ok(SweepChange::Delete) };
        for (field, tags) in [("addTags", add_tags), ("removeTags", remove_tags)] {
            if tags.len() > TAGS_MAX {
                return Err(Problem::invalid(field, format!("{field} can have {TAGS_MAX} tags")));
            }
        }
        let tags =
            TagEdit { replace: remove_tags.iter().map(|tag| (tag.clone(), None)).collect(), add: add_tags.clone() };
        Ok(SweepChange::Edit { edit: changes.edit(own_hosts)?, tags })
    }
}

/// How far a change of many links is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SweepProgress)]
pub(super) struct ProgressJson {
    /// How many links fitted when it began.
    links: u64,
    /// `true` if they were not all counted: there are at least as many.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    links_is_minimum: bool,
    /// How many were changed.
    changed: u64,
    /// How many were as they should be already, or did not fit any more when their turn came.
    unchanged: u64,
    /// How many could not be changed.
    failed: u64,
    /// Whether all links that fit had their turn. If the last line does not say so, send the request again: it goes on.
    done: bool,
    /// Links that could not be changed: in a line those since the line before; in a JSON answer the first 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    failures: Vec<FailureJson>,
    /// The shards whose links could not be listed. Absent if all could.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, min_items = 1)]
    partial: Vec<u32>,
    /// Why it ended before all links had their turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Document>, nullable = false)]
    problem: Option<Value>,
}

/// A link that could not be changed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SweepFailure)]
struct FailureJson {
    /// Its code.
    short_code: String,
    /// The host of its domain; `null` for the default domain.
    #[schema(required)]
    domain: Option<String>,
    /// Why.
    #[schema(value_type = Document)]
    problem: Value,
}

/// A sweep that is being answered.
pub(super) struct Sweeping {
    node: web::Data<NodeState>,
    principal: Principal,
    sweep: Sweep,
    /// Whether each step is told.
    lines: bool,
    /// The first step, which was done before the answer began.
    first: Option<Option<SweepStep>>,
    changed: u64,
    unchanged: u64,
    failed: u64,
    /// To be told.
    failures: VecDeque<(LinkKey, ChangeError)>,
    ended: bool,
    /// Held while the request is answered.
    _permit: OwnedSemaphorePermit,
}

impl Sweeping {
    /// Answers a sweep. Its first links are done before the answer begins, so that a request that cannot be answered gets a problem.
    pub(super) async fn answer(
        node: web::Data<NodeState>,
        request: &HttpRequest,
        principal: Principal,
        mut sweep: Sweep,
    ) -> Result<HttpResponse, Problem> {
        let permit = node.bulk_requests.clone().try_acquire_owned();
        let permit = permit
            .map_err(|_| Problem::not_ready(format!("{BULK_REQUESTS_MAX} bulk requests are being answered already")))?;
        let first = node.app.sweep_step(&principal, &mut sweep).await?;
        let lines = wants_lines(request);
        let sweeping = Self {
            node,
            principal,
            sweep,
            lines,
            first: Some(first),
            changed: 0,
            unchanged: 0,
            failed: 0,
            failures: VecDeque::new(),
            ended: false,
            _permit: permit,
        };
        let kind = if lines { "application/x-ndjson" } else { "application/json" };
        let mut answer = HttpResponse::Ok();
        Ok(answer.insert_header((CONTENT_TYPE, kind)).streaming(stream::unfold(sweeping, Self::next)))
    }

    /// The next piece of the answer.
    async fn next(mut self) -> Option<(Result<Bytes, actix_web::Error>, Self)> {
        if self.ended {
            return None;
        }
        let (done, problem) = match self.step().await {
            Ok(Some(step)) => {
                self.count(step);
                if !self.lines {
                    // JSON may have white space before it.
                    return Some((Ok(Bytes::from_static(b"\n")), self));
                }
                (false, None)
            }
            Ok(None) => {
                self.ended = true;
                let partial = self.sweep.partial().next().is_some();
                let missing = "the links of some shards could not be listed; send the same request again";
                (!partial, partial.then(|| Problem::unavailable(missing)))
            }
            Err(problem) => {
                self.ended = true;
                (false, Some(problem))
            }
        };
        let json = self.progress(done, problem.as_ref());
        let mut line = serde_json::to_vec(&json).expect("invariant: a line of texts and numbers is JSON");
        line.push(b'\n');
        Some((Ok(line.into()), self))
    }

    async fn step(&mut self) -> Result<Option<SweepStep>, Problem> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        for tries in 1.. {
            if self.node.draining() {
                return Err(Problem::not_ready("the server is stopping; send the same request again"));
            }
            match self.node.app.sweep_step(&self.principal, &mut self.sweep).await {
                Err(error) if tries == TRIES_MAX => return Err(error.into()),
                Err(_) => tokio::time::sleep(PAUSE).await,
                Ok(step) => return Ok(step),
            }
        }
        unreachable!("invariant: the last try returns")
    }

    fn count(&mut self, step: SweepStep) {
        let SweepStep { changed, unchanged, failed } = step;
        self.changed += changed.len() as u64;
        self.unchanged += unchanged;
        self.failed += failed.len() as u64;
        self.failures.extend(failed);
        if !self.lines {
            self.failures.truncate(FAILURES_MAX);
        }
    }

    fn progress(&mut self, done: bool, problem: Option<&Problem>) -> ProgressJson {
        let Matches { total, is_minimum } = self.sweep.matches().unwrap_or_default();
        let failures = std::mem::take(&mut self.failures);
        ProgressJson {
            links: total,
            links_is_minimum: is_minimum,
            changed: self.changed,
            unchanged: self.unchanged,
            failed: self.failed,
            done,
            failures: failures.into_iter().map(|(key, error)| failure(&self.node, &key, error)).collect(),
            partial: numbers(&self.sweep.partial().collect::<Vec<_>>()),
            problem: problem.map(document),
        }
    }
}

fn document(problem: &Problem) -> Value {
    serde_json::from_slice(&problem.document()).unwrap_or_default()
}

fn failure(node: &NodeState, key: &LinkKey, error: ChangeError) -> FailureJson {
    FailureJson {
        short_code: key.code.to_string(),
        domain: host_text(node.app.site(key.domain).host.as_ref()),
        problem: document(&Problem::of_change(error, None)),
    }
}

/// Changes or deletes all links that fit a filter.
///
/// The filter is that of the list of links: what `GET /api/v1/links` lists, this changes. Each link is changed only while it fits, so no change by somebody
/// else is lost. Read the answer to its end: when the connection breaks, the rest stays as it is. Send the same request again to go on.
#[utoipa::path(post, path = "/api/v1/bulk/links", operation_id = "sweepLinks", tag = "Links", params(SweepQuery), request_body = GivenSweep,
    responses((status = 200, description = "What was done; as NDJSON a line for every few links, and the last line when it has ended",
        content((ProgressJson = "application/json"), (String = "application/x-ndjson")))))]
pub(super) async fn links(
    caller: Authorized<WriteLinks>,
    request: HttpRequest,
    query: web::Query<SweepQuery>,
    body: web::Bytes,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let body: GivenSweep = parse_json_only(&request, &body)?;
    let filter = query.filter(&node, &caller.principal, |text| node.own_link(&request, text))?;
    let (dry_run, all) = body.options();
    let own_hosts = node.own_hosts(&request);
    let change = body.change(&own_hosts)?;
    // Also for a dry run: it says what is wrong with the change.
    let sweep = node.app.sweep(&caller.principal, filter.clone(), all, change).await;
    let sweep = sweep.map_err(|error| Problem::of_change(error, None))?;
    match dry_run {
        true => count(&node, &caller.principal, filter).await,
        false => Sweeping::answer(node, &request, caller.principal, sweep).await,
    }
}

/// How many links fit.
async fn count(node: &NodeState, principal: &Principal, filter: LinkFilter) -> Result<HttpResponse, Problem> {
    let ask = ListRequest { filter, sort: Default::default(), after: None, limit: 1, count: true, seen: None };
    let listed = node.app.list_links(principal, ask).await?;
    let Matches { total, is_minimum } = listed.matches.unwrap_or_default();
    Ok(HttpResponse::Ok().json(ProgressJson {
        links: total,
        links_is_minimum: is_minimum,
        changed: 0,
        unchanged: 0,
        failed: 0,
        done: listed.partial.is_empty(),
        failures: Vec::new(),
        partial: numbers(&listed.partial),
        problem: None,
    }))
}
