//! A whole list as CSV or NDJSON: page after page, as fast as the client reads.
//!
//! A list that could not be read to its end does not look like a complete one: its last line says what is missing, and the connection is closed without the end of
//! the body, which every HTTP client reports.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use actix_web::{HttpRequest, web};
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use waypost_protocol::ShardId;

use super::partial::numbers;
use super::query::{Asked, Format};
use super::table::{COLUMNS, csv, row};
use crate::app::{ListError, ListRequest, Listed, Principal};
use crate::http::link_json::LinkJson;
use crate::http::problem::Problem;
use crate::http::state::NodeState;

/// The most streams of one node at a time, which bounds their memory.
pub const LIST_STREAMS_MAX: usize = 4;

/// The links of a page: they are in memory until the client has read them.
const PAGE_LINKS: u64 = 500;

/// How often a page is asked for that lacks a shard which was there before, or that failed. A shard has a new leader within seconds.
const TRIES_MAX: u32 = 10;

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// The last line of an incomplete NDJSON list.
#[derive(Serialize)]
struct LastLine {
    problem: Value,
    partial: Vec<u32>,
}

/// A list that is being sent.
pub(super) struct Walk {
    node: web::Data<NodeState>,
    /// For short URLs.
    request: HttpRequest,
    principal: Principal,
    csv: bool,
    ask: ListRequest,
    /// How many links may follow; `None` = any number.
    left: Option<u64>,
    /// The page to send next; `None` = it is to be read.
    page: Option<Listed>,
    /// Shards whose links are missing, or some of them.
    partial: BTreeSet<ShardId>,
    state: State,
    /// Held while the list is sent.
    _permit: OwnedSemaphorePermit,
}

enum State {
    /// Nothing was sent yet.
    Begin,
    Pages,
    /// All pages were sent.
    End,
    /// The last line of an incomplete list was sent.
    Broken,
}

type Piece = Result<Bytes, actix_web::Error>;

impl Walk {
    /// Reads the first page, so that a request that cannot be answered gets a problem.
    pub(super) async fn begin(
        node: web::Data<NodeState>,
        request: HttpRequest,
        principal: Principal,
        asked: Asked,
        format: Format,
    ) -> Result<Self, Problem> {
        let permit = node.list_streams.clone().try_acquire_owned();
        let permit = permit.map_err(|_| {
            Problem::not_ready(format!("{LIST_STREAMS_MAX} lists are being sent as CSV or NDJSON already"))
        })?;
        let ask = ListRequest {
            filter: asked.filter,
            sort: asked.sort,
            after: asked.cursor.map(|cursor| cursor.after),
            limit: links_of_page(asked.limit),
            count: false,
            seen: asked.seen,
        };
        let mut walk = Self {
            node,
            request,
            principal,
            csv: format == Format::Csv,
            ask,
            left: asked.limit,
            page: None,
            partial: BTreeSet::new(),
            state: State::Begin,
            _permit: permit,
        };
        walk.page = Some(walk.node.app.list_links(&walk.principal, walk.ask.clone()).await?);
        // It has been seen, and later pages need not wait for it.
        walk.ask.seen = None;
        Ok(walk)
    }

    /// The next piece of the body.
    pub(super) async fn next(mut self) -> Option<(Piece, Self)> {
        match self.state {
            State::Begin | State::Pages => {}
            State::End if self.partial.is_empty() => return None,
            State::End => {
                let missing = numbers(&self.partial);
                let detail = format!(
                    "the list is incomplete: no node could answer for all links of the shards {missing:?}; try again"
                );
                return Some(self.broken(&Problem::unavailable(detail)));
            }
            State::Broken => {
                // The last line is on its way before the connection breaks.
                tokio::time::sleep(PAUSE).await;
                return Some((Err(std::io::Error::other("the list is incomplete").into()), self));
            }
        }
        let page = match self.next_page().await {
            Ok(page) => page,
            Err(problem) => return Some(self.broken(&problem)),
        };
        self.partial.extend(page.partial);
        let links: Vec<LinkJson> = page
            .items
            .iter()
            .map(|(_, view)| self.node.link_json(&self.request, &view.link, Some(view.counts)))
            .collect();
        let piece = self.lines(&links);
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(links.len() as u64);
        }
        self.ask.limit = links_of_page(self.left);
        self.ask.after = page.next;
        self.state = if self.ask.after.is_some() && self.left != Some(0) { State::Pages } else { State::End };
        Some((Ok(piece.into()), self))
    }

    /// The page that was read already, or the next one. If a shard is missing that was there before, it is waited for.
    async fn next_page(&mut self) -> Result<Listed, Problem> {
        let mut page = self.page.take().map(Ok);
        for tries in 1.. {
            if self.node.draining() {
                return Err(Problem::not_ready("the list is incomplete: the server is stopping"));
            }
            let read = match page.take() {
                Some(page) => page,
                None => self.node.app.list_links(&self.principal, self.ask.clone()).await,
            };
            match read {
                Ok(read) if tries == TRIES_MAX || read.partial.iter().all(|shard| self.partial.contains(shard)) => {
                    return Ok(read);
                }
                Err(error) if tries == TRIES_MAX || matches!(error, ListError::Denied(_)) => return Err(error.into()),
                Ok(_) | Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
        unreachable!("invariant: the last try returns")
    }

    /// The lines of links; those of the first page stand behind the head of the table.
    fn lines(&self, links: &[LinkJson]) -> Vec<u8> {
        if !self.csv {
            let line = |link| {
                let mut line = serde_json::to_vec(link).expect("invariant: a link of texts and numbers is JSON");
                line.push(b'\n');
                line
            };
            return links.iter().flat_map(line).collect();
        }
        let head = matches!(self.state, State::Begin).then(|| COLUMNS.map(Cow::from).to_vec());
        let rows = links.iter().map(|link| row(link).into_iter().map(Cow::from).collect());
        csv(head.into_iter().chain(rows))
    }

    /// Sends the last line of an incomplete list.
    fn broken(mut self, why: &Problem) -> (Piece, Self) {
        self.state = State::Broken;
        let line = if self.csv {
            // No link has such a code, so nobody takes it for one.
            let mut cells = vec![Cow::from(""); COLUMNS.len()];
            cells[0] = Cow::from(format!("!incomplete: {}", why.detail()));
            csv([cells])
        } else {
            let problem = serde_json::from_slice(&why.document()).unwrap_or_default();
            let line = LastLine { problem, partial: numbers(&self.partial) };
            let mut line = serde_json::to_vec(&line).expect("invariant: a line of texts and numbers is JSON");
            line.push(b'\n');
            line
        };
        (Ok(line.into()), self)
    }
}

/// How many links the next page has, if so many may follow.
fn links_of_page(left: Option<u64>) -> usize {
    left.unwrap_or(PAGE_LINKS).clamp(1, PAGE_LINKS) as usize
}
