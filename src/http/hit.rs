//! A visit of a plain link that is in the cache: one look-up in three steps, and one record in the worker's own click journal. A link that is not in the
//! cache is read from this node's replica, if it has a fresh one.
//!
//! This is the most important path. It crosses no thread, waits for no mailbox, and with a cached link it takes no contended lock and allocates
//! nothing (but where several proxies have told of the visitor).

use std::net::SocketAddr;
use std::time::Instant;

use waypost_click_counter::Visitor;
use waypost_head::Headers;
use waypost_protocol::code::SLUG_BYTES_MAX;
use waypost_protocol::properties::RedirectStatus;
use waypost_protocol::{Code, Domain, KeyHash, LinkKey, Site, UnixMs};
use waypost_redirector::{Expected, Lookup, Plain};

use super::state::WorkerState;
use super::visitor::{limited_client, visitor};

/// A request of a visitor by `GET`.
pub(super) struct Visit<'a, H> {
    /// The path without its slash.
    pub(super) code: &'a str,
    /// The same code, if it was expected.
    pub(super) expected: Option<Expected>,
    /// The query, if there is one.
    pub(super) query: Option<&'a str>,
    /// Its headers.
    pub(super) headers: &'a H,
    /// The other end of the connection.
    pub(super) peer: Option<SocketAddr>,
}

/// What is known of a visit at once.
pub(super) enum Found {
    /// It was counted.
    Hit(Hit),
    /// Neither the cache nor a fresh replica of this node has the link.
    Missing(Missing),
    /// The `App` has to look: it expired, does more than leading to its target, or is no code of the domain.
    Other,
}

/// A link that is neither in the cache nor in a fresh replica of this node, if it exists.
pub(super) struct Missing {
    pub(super) key: LinkKey,
    /// The status of the redirect, if the link asks for none.
    pub(super) default_status: RedirectStatus,
    /// The time of the visit.
    pub(super) now: UnixMs,
}

/// A redirect that was counted and is to be sent.
pub(super) struct Hit {
    /// The link.
    pub(super) link: Plain,
    /// The status of the redirect.
    pub(super) status: RedirectStatus,
    /// The time of the visit.
    pub(super) now: UnixMs,
    /// It was not cached, and read from this node's replica.
    pub(super) was_read: bool,
}

/// Begins to load what is known of a code that is going to be looked up, if the domains of the node need no choice.
pub(super) fn expect(worker: &WorkerState, code: &str) -> Option<Expected> {
    let is_plain = worker.node.groups.domains().is_plain();
    is_plain.then(|| worker.node.view.expect(Domain::default(), code))
}

impl<H: Headers> Visit<'_, H> {
    /// Counts the visit, if it is one of a plain link that is cached, or in a fresh replica of this node.
    pub(super) fn answer(&self, worker: &WorkerState, started: Instant) -> Found {
        // While the node stops, the `App` answers, and closes the connection.
        if worker.node.draining() || !worker.redirects {
            return Found::Other;
        }
        let now = (worker.node.clock)();
        let found = match self.look_up(worker, now, started) {
            // A request that is traced goes through the `App`.
            Found::Missing(missing) if !waypost_telemetry::traces_on() => self.read_here(worker, missing),
            found => found,
        };
        if let Found::Hit(hit) = &found {
            if !hit.was_read {
                worker.metrics.hit();
            }
            worker.metrics.redirect(started);
            worker.access_log.note_code("GET", self.code, hit.status.into(), self.peer);
        }
        found
    }

    /// Whether the Redirector may be asked for a link without the `App`. Not for clients that have asked for many unknown codes, and not where requests are
    /// traced.
    pub(super) fn may_be_asked_for(&self, worker: &WorkerState, at: Instant) -> bool {
        let is_over = |client| worker.node.unknown.is_over(client, at);
        !waypost_telemetry::traces_on()
            && !limited_client(&worker.visitors, self.headers, self.peer).is_some_and(is_over)
    }

    /// Reads a link from this node's replica. A visit of a plain one is counted.
    fn read_here(&self, worker: &WorkerState, missing: Missing) -> Found {
        // It may wait for the disk, and a node that stops waits for open requests, so that their visits are counted.
        let _open = worker.node.lifecycle.begin_request();
        if worker.node.draining() {
            return Found::Other;
        }
        let Missing { key, default_status, now } = &missing;
        let read = worker.here.look_up(key, *now).and_then(|read| found_in(read, *now, *default_status));
        let Some(mut found) = read else { return Found::Missing(missing) };
        // Everything else is looked up again by the `App`, which counts.
        if let Found::Hit(hit) = &mut found {
            hit.was_read = true;
            worker.metrics.miss();
            self.count(worker, hit.link.link(), *now);
        }
        found
    }

    /// Counts a visit of a link, if it is one that counts.
    pub(super) fn count(&self, worker: &WorkerState, link: KeyHash, now: UnixMs) {
        if let Some(visitor) = self.visitor(worker) {
            worker.recorder.visit(link, now, &visitor);
        }
    }

    /// The visitor, if a visit counts.
    fn visitor(&self, worker: &WorkerState) -> Option<Visitor<'_>> {
        worker.recorder.is_on().then(|| visitor(&worker.visitors, self.headers, self.peer, self.query))?
    }

    /// What `find` finds. A hit is counted. If one is `likely`, what a visit needs apart from the link is got ready before.
    fn counted(&self, worker: &WorkerState, now: UnixMs, likely: bool, find: impl FnOnce() -> Found) -> Found {
        if !likely {
            let found = find();
            if let Found::Hit(hit) = &found {
                self.count(worker, hit.link.link(), now);
            }
            return found;
        }
        let Some(visitor) = self.visitor(worker) else { return find() };
        let mut found = Found::Other;
        worker.recorder.visit_found(now, &visitor, || {
            found = find();
            match &found {
                Found::Hit(hit) => Some(hit.link.link()),
                Found::Missing(_) | Found::Other => None,
            }
        });
        found
    }

    fn look_up(&self, worker: &WorkerState, now: UnixMs, at: Instant) -> Found {
        let (view, domains) = (&worker.node.view, worker.node.groups.domains());
        if domains.is_plain() {
            let expected = self.expected.unwrap_or_else(|| view.expect(Domain::default(), self.code));
            let likely = view.approach(expected);
            return self.counted(worker, now, likely, || {
                let found = view.lookup_expected(expected, Domain::default(), self.code, now, at);
                let found = found_in(found, now, RedirectStatus::Found);
                found.unwrap_or_else(|| self.missing(LinkKey::new, RedirectStatus::Found, now))
            });
        }
        let domains = domains.load();
        let Some(site) = worker.node.address.site(&domains, self.headers, self.peer) else { return Found::Other };
        self.counted(worker, now, false, || match self.look_up_on(worker, site, now, at) {
            Some(found) => found,
            None if site.multi_segment => Found::Other,
            None => self.missing(|code| site.key(code), site.default_status, now),
        })
    }

    /// The link that the code names to the letter, if it can name one.
    fn missing(&self, key: impl FnOnce(Code) -> LinkKey, default_status: RedirectStatus, now: UnixMs) -> Found {
        match Code::from_path(self.code).filter(|code| code.as_str() == self.code && !code.is_reserved()) {
            Some(code) => Found::Missing(Missing { key: key(code), default_status, now }),
            None => Found::Other,
        }
    }

    /// A cached link of a domain.
    fn look_up_on(&self, worker: &WorkerState, site: &Site, now: UnixMs, at: Instant) -> Option<Found> {
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
        found_in(worker.node.view.lookup(site.domain, code, now, at), now, site.default_status)
    }
}

/// What the cache knows; `None` if it does not have the link.
fn found_in(found: Lookup, now: UnixMs, default_status: RedirectStatus) -> Option<Found> {
    match found {
        Lookup::Redirect(link) => {
            Some(Found::Hit(Hit { status: link.status(default_status), link, now, was_read: false }))
        }
        Lookup::Expired | Lookup::Special(_) => Some(Found::Other),
        Lookup::Miss => None,
    }
}
