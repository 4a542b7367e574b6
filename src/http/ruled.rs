//! The visitor of a link with rules. Nothing is read from the request before a rule asks for it.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::net::IpAddr;
use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header::USER_AGENT;
use waypost_click_counter::{Agent, Location};
use waypost_protocol::KeyHash;
use waypost_redirector::Visitor;

use super::pages::languages;
use super::state::WorkerState;
use super::visitor::address_of;
use super::wire::client_of;

/// The visitor of a link, as its rules see one.
pub(super) struct RuledVisitor<'a> {
    request: &'a HttpRequest,
    worker: &'a WorkerState,
    link: KeyHash,
    agent: OnceCell<Agent>,
    address: OnceCell<Option<IpAddr>>,
    location: OnceCell<Location>,
}

impl<'a> RuledVisitor<'a> {
    /// Who has sent a request for a link.
    pub(super) fn of(request: &'a HttpRequest, worker: &'a WorkerState, link: KeyHash) -> Self {
        let (agent, address, location) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Self { request, worker, link, agent, address, location }
    }

    fn user_agent(&self) -> &[u8] {
        self.request.headers().get(USER_AGENT).map(|value| value.as_bytes()).unwrap_or_default()
    }

    fn agent(&self) -> Agent {
        *self.agent.get_or_init(|| self.worker.recorder.agent(self.user_agent()))
    }

    fn location(&self) -> &Location {
        let locate = || self.address().map(|address| self.worker.recorder.location(address)).unwrap_or_default();
        self.location.get_or_init(locate)
    }
}

impl Visitor for RuledVisitor<'_> {
    fn browser(&self) -> &str {
        let agent = self.agent();
        if agent.bot { "" } else { agent.browser_name() }
    }

    fn os(&self) -> &str {
        self.agent().os_name()
    }

    fn device(&self) -> &str {
        self.agent().device_name()
    }

    fn languages(&self) -> Cow<'_, str> {
        languages(self.request).into()
    }

    fn address(&self) -> Option<IpAddr> {
        let address = || address_of(&self.worker.visitors, self.request.headers(), self.request.peer_addr());
        *self.address.get_or_init(address)
    }

    fn country(&self) -> [u8; 2] {
        self.location().country
    }

    fn city(&self) -> Arc<str> {
        self.location().city.clone()
    }

    fn lot(&self) -> u64 {
        self.worker.node.split_key.lot(self.link, self.address().map(client_of), self.user_agent())
    }
}
