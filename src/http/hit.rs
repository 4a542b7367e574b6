//! A visit of a plain link that is in the cache: one look-up, and one record in the worker's own click journal.
//!
//! This is the most important path. It crosses no thread, waits for no mailbox, takes no contended lock and allocates nothing (but where several
//! proxies have told of the visitor).

use std::net::SocketAddr;
use std::time::Instant;

use waypost_protocol::code::SLUG_BYTES_MAX;
use waypost_protocol::properties::RedirectStatus;
use waypost_protocol::{Domain, Site, UnixMs};
use waypost_redirector::{Lookup, Plain};

use super::headers::Headers;
use super::state::WorkerState;
use super::visitor::visitor;

/// A request of a visitor by `GET`.
pub(super) struct Visit<'a, H> {
    /// The path without its slash.
    pub(super) code: &'a str,
    /// The query, if there is one.
    pub(super) query: Option<&'a str>,
    /// Its headers.
    pub(super) headers: &'a H,
    /// The other end of the connection.
    pub(super) peer: Option<SocketAddr>,
}

/// A redirect that was counted and is to be sent.
pub(super) struct Hit {
    /// The link.
    pub(super) link: Plain,
    /// The status of the redirect.
    pub(super) status: RedirectStatus,
    /// The time of the visit.
    pub(super) now: UnixMs,
}

impl<H: Headers> Visit<'_, H> {
    /// Counts the visit, if a plain link is cached; otherwise the `App` answers.
    pub(super) fn answer(&self, worker: &WorkerState, started: Instant) -> Option<Hit> {
        // While the node stops, the `App` answers, and closes the connection.
        if worker.node.draining() || !worker.redirects {
            return None;
        }
        let now = (worker.node.clock)();
        let hit = self.look_up(worker, now, started)?;
        if worker.recorder.is_on()
            && let Some(visitor) = visitor(&worker.visitors, self.headers, self.peer, self.query)
        {
            worker.recorder.visit(hit.link.link(), now, &visitor);
        }
        worker.metrics.front(started);
        worker.access_log.note_code("GET", self.code, hit.status.into(), self.peer);
        Some(hit)
    }

    fn look_up(&self, worker: &WorkerState, now: UnixMs, at: Instant) -> Option<Hit> {
        let domains = worker.node.groups.domains();
        if domains.is_plain() {
            return look_up(worker, Domain::default(), self.code, now, at, RedirectStatus::Found);
        }
        let domains = domains.load();
        let site = worker.node.address.site(&domains, self.headers, self.peer)?;
        self.look_up_on(worker, site, now, at)
    }

    /// A cached link of a domain.
    fn look_up_on(&self, worker: &WorkerState, site: &Site, now: UnixMs, at: Instant) -> Option<Hit> {
        let mut buffer = [0; SLUG_BYTES_MAX];
        let code = match site.case_insensitive {
            false => self.code,
            true => {
                let folded = buffer.get_mut(..self.code.len())?;
                folded.copy_from_slice(self.code.as_bytes());
                folded.make_ascii_lowercase();
                std::str::from_utf8(folded).ok()?
            }
        };
        look_up(worker, site.domain, code, now, at, site.default_status)
    }
}

fn look_up(
    worker: &WorkerState,
    domain: Domain,
    code: &str,
    now: UnixMs,
    at: Instant,
    status: RedirectStatus,
) -> Option<Hit> {
    match worker.node.view.lookup(domain, code, now, at) {
        Lookup::Redirect(link) => Some(Hit { link, status, now }),
        Lookup::Expired | Lookup::Special(_) | Lookup::Miss => None,
    }
}
