//! The application layer: what a node does for its users, as functions that know neither HTTP nor a dialect of the API.
//!
//! ```text
//!   a dialect (src/http, later others)      authenticates: Evidence ─► Principal · reads the request, writes the answer
//!        │  App::create_link(&principal, …)
//!   src/app                                 authorises · validates · calls the services · keeps the promises to the caller
//!        │  messages
//!   LinkStore, KeyAllocator, groups
//! ```
//!
//! Each function takes the [`Principal`] first and checks its permission before anything else, except for what is as public as a redirect: the
//! preview of a link, its limit of visits, its password, and the list of links for crawlers; and for signing in to the dashboard. Errors are enums: where one concerns a
//! field it says so by its variant, and the dialect gives the field its name. A second dialect calls the same functions, so it cannot forget
//! the permission, the limits, or that callers read their own writes. The redirect of a visitor is not here: it is too short for a
//! layer (docs/adr/0005, docs/adr/0020).

mod access;
mod backup;
mod bulk;
mod cluster;
mod codes;
mod crawlable;
mod create;
mod deleted;
mod domains;
mod history;
mod link_errors;
mod links;
mod list;
mod live_session;
mod one_time_links;
mod passwords;
mod proposals;
mod put;
mod rules;
mod seal;
mod session_token;
mod sessions;
mod sign_in;
mod statistics;
mod sweep;
mod tags;
mod undo;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use access::{
    Authenticator, Author, CLI_KEY_PREFIX, Credential, Denied, Evidence, KEY_PREFIX, KeyNeeded, NotAdminKey,
    PeerAccount, Permission, Principal, Unintended,
};
pub use backup::{Backup, BackupRefused};
pub use bulk::{BULK_AT_ONCE_MAX, BulkChange, BulkDone, BulkError};
pub use cluster::ClusterError;
pub use codes::{CODES_PER_CALL_MAX, CodesError};
pub use create::{CreatedLink, IDEMPOTENCY_KEY_BYTES_MAX, NewLink};
use deleted::Deleted;
pub use deleted::Deletion;
pub use domains::{DomainEdit, DomainError, DomainUrl, LinkName};
pub use history::{HistoryError, Revision};
pub use link_errors::{ChangeError, CreateError, NotYetSupported, ReadError, Taken, UnknownDomain};
pub use links::{Consistency, Guard, LinkEdit, LinkPreview};
pub use list::{ListError, ListRequest, Listed, ListedTags};
pub use live_session::LiveSession;
pub use one_time_links::{LinkRefused, LinkUser};
pub use passwords::Passwords;
pub use put::{Condition, PutError, PutLink};
pub use rules::{NewLeads, NewRule, RulesFault};
pub use session_token::SessionToken;
pub use sessions::{SessionError, SessionTimes, SessionView, Sessions};
pub use sign_in::{OneTimeLinkError, SignIn, SignInError};
pub use statistics::{
    Answer, Interval, Period, PeriodError, Point, Ranked, Report, ReportError, ReportQuery, Summary, SummaryDetails,
    TaggedReport, Top, ValueCount,
};
pub use sweep::{Sweep, SweepChange, SweepStep, TagEdit};
use tokio::sync::Semaphore;
pub use undo::UndoError;
use waypost_consensus::Groups;
use waypost_protocol::domain::HostName;
use waypost_protocol::listing::LinkFilter;
use waypost_protocol::messages::{KeyAllocator, LinkStore};
use waypost_protocol::session::SessionId;
use waypost_protocol::{Level, LinkKey, ServiceError, UnixMs};
use waypost_redirector::ReadView;
use waypost_runtime::ActorRef;

use crate::cluster::{Backups, Lists, PlacementController};
use crate::config::AnalyticsRule;
use crate::limits::LISTS_AT_ONCE;

/// The parts that the application layer uses.
pub struct AppParts {
    /// The LinkStore service.
    pub links: ActorRef<LinkStore>,
    /// The KeyAllocator service.
    pub keys: ActorRef<KeyAllocator>,
    /// Hashes and checks the passwords of links.
    pub passwords: Passwords,
    /// The link cache of this node.
    pub view: Arc<ReadView>,
    /// The replicated groups.
    pub groups: Arc<Groups>,
    /// The state of the other nodes.
    pub controller: Arc<PlacementController>,
    /// Asks the catalogs of the nodes.
    pub lists: Lists,
    /// Makes backups of the whole cluster.
    pub backups: Backups,
    /// The host of `public_url`, which is the default domain.
    pub public_host: Option<HostName>,
    /// Authenticates requests.
    pub authenticator: Authenticator,
    /// The sessions of the dashboard.
    pub sessions: Sessions,
    /// What the summary of a link shows to whom.
    pub analytics: AnalyticsRule,
    /// How long a call may take.
    pub timeout: Duration,
    /// The longest URL accepted, in bytes.
    pub url_max_bytes: usize,
    /// Set while free space is too low for changes.
    pub read_only: Arc<AtomicBool>,
    /// The wall clock.
    pub clock: fn() -> UnixMs,
}

/// What a node does for its users. Its parts are private, so that a dialect reaches the services by these functions only.
pub struct App {
    parts: AppParts,
    shards: u32,
    list_turns: Semaphore,
    deleted: Deleted,
    past_days: statistics::PastDays,
    ranked: statistics::RankedBefore,
    tagged: statistics::TaggedBefore,
}

impl App {
    /// Creates it once a node has its services.
    pub fn new(parts: AppParts) -> Self {
        let shards = parts.groups.bootstrap().shards;
        Self {
            parts,
            shards,
            list_turns: Semaphore::new(LISTS_AT_ONCE),
            deleted: Deleted::default(),
            past_days: statistics::PastDays::default(),
            ranked: statistics::RankedBefore::default(),
            tagged: statistics::TaggedBefore::default(),
        }
    }

    /// The sender of a request.
    pub fn authenticate(&self, evidence: &impl Evidence) -> Principal {
        self.parts.authenticator.authenticate(evidence)
    }

    /// The wall clock, for dialects that read times relative to now.
    pub fn now(&self) -> UnixMs {
        (self.parts.clock)()
    }

    /// Whether the node refuses changes because disk space is short.
    pub fn is_read_only(&self) -> bool {
        self.parts.read_only.load(Ordering::Relaxed)
    }

    /// Why the bootstrap of the cluster is not complete; `None` once it is.
    pub fn pending_bootstrap(&self) -> Option<String> {
        self.parts.controller.pending_bootstrap()
    }

    /// Refuses a change early: while the cluster is being created, or the node is read-only.
    fn writable(&self) -> Result<(), ServiceError> {
        if self.is_read_only() {
            return Err(ServiceError::ReadOnly("the disk has too little free space".to_owned()));
        }
        match self.pending_bootstrap() {
            Some(why) => Err(ServiceError::Unavailable(format!("the cluster is being created: {why}"))),
            None => Ok(()),
        }
    }

    /// Refuses early, and with a reason of its own, what the leader of the shard would refuse: its answer could not tell the reason in a form
    /// that nodes of earlier versions read.
    fn supported(&self, needed: Level) -> Result<(), NotYetSupported> {
        let level = self.parts.groups.level();
        if needed > level { Err(NotYetSupported { needed, level }) } else { Ok(()) }
    }
}

/// Fails to compile if a function holds something across an await that cannot move to another thread: other dialects may use a runtime
/// that moves its tasks.
const _: fn(&App, &Principal, &ReportQuery<'static>, LinkKey, ListRequest) = |app, principal, query, key, list| {
    fn is_send(_: impl Future + Send) {}
    is_send(app.create_link(principal, NewLink::default()));
    let name = LinkName::default();
    is_send(app.link(principal, name, Consistency::Local));
    is_send(app.edit_link(principal, name, LinkEdit::default(), Guard::Any));
    is_send(app.put_link(principal, name, NewLink::default(), &Condition::default()));
    is_send(app.bulk(principal, Vec::new(), None));
    is_send(app.delete_link(principal, name, Guard::Any));
    is_send(app.delete_for_a_while(principal, name, Guard::Any));
    is_send(app.undo_delete(principal, ""));
    is_send(app.replace_tag(principal, "", None, None));
    is_send(app.sweep(principal, LinkFilter::default(), false, SweepChange::Delete));
    is_send(async move {
        let mut sweep = app.replace_tag(principal, "", None, None).await?;
        Ok::<_, ChangeError>(app.sweep_step(principal, &mut sweep).await.is_ok())
    });
    is_send(app.preview(key));
    is_send(app.history(principal, name));
    is_send(app.restore_target(principal, name, 1, &Guard::Any, &[]));
    is_send(app.list_links(principal, list));
    is_send(app.list_tags(principal, None));
    is_send(app.crawlable(waypost_protocol::Domain::default(), 1));
    is_send(app.issue_codes(principal, None, 1));
    is_send(app.totals(principal, None));
    is_send(app.reset_statistics(principal, name));
    is_send(app.report(principal, query));
    is_send(app.report_of_tag(principal, "", query));
    is_send(app.orphans(principal));
    is_send(app.summary(principal, name));
    is_send(app.backup(principal));
    is_send(app.add_domain(principal, "", &DomainEdit::default()));
    is_send(app.edit_domain(principal, "", &DomainEdit::default()));
    is_send(app.remove_domain(principal, "", false));
    is_send(app.cluster(principal));
    is_send(app.drain_node(principal, "", true));
    is_send(app.remove_node(principal, ""));
    is_send(app.move_leader(principal, 0, ""));
    is_send(app.end_session(principal, SessionId(0)));
    is_send(app.end_other_sessions(principal, SessionId(0)));
};
