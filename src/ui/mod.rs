//! The views of the dashboard: what is known of links, statistics and the cluster goes in, HTML comes out.
//!
//! Nothing here knows actix or the services; `src/http/ui/` has the handlers that fill the views.
//!
//! ```text
//! context.rs   what every view needs: language, time zone, theme, addresses
//! texts.rs     the texts of a language, from texts/*.toml
//! format.rs    numbers and times as people read them
//! form.rs      what was typed, and why it was refused
//! home.rs      the first page
//! links.rs     the list of links
//! bulk.rs      changes of many links
//! tools.rs     what brings URLs here from elsewhere
//! link_item.rs a link as lists and cards show it
//! chart.rs     charts over time as SVG
//! link.rs      one link; link_form.rs and rules_form.rs are its forms, link_*.rs its other views
//! stats.rs     statistics
//! draft.rs     a form that arrived when nobody was signed in any more
//! failure.rs   the page that stands for another one
//! tags.rs, domains.rs, cluster.rs   the views of these names
//! assets.rs    the style sheet, the scripts and the icons, ready to send
//! templates/   the HTML; layout.html is the frame of all views
//! ```

mod assets;
mod bulk;
mod chart;
mod cluster;
mod context;
mod domains;
mod draft;
mod failure;
mod form;
mod format;
mod home;
mod link;
mod link_form;
mod link_history;
mod link_item;
mod link_qr;
mod link_rules;
mod links;
mod rules_form;
mod sessions;
mod sign_in;
mod stats;
mod tags;
mod texts;
mod tools;

pub use assets::{asset, gzip};
pub use bulk::{
    Action, BulkAskView, BulkDoneView, BulkOutcomeView, BulkStepView, BulkStepsView, NAMED_LINKS_MAX, Outcome, STEPS,
};
pub use chart::{Chart, ChartPoint};
pub use cluster::{ClusterPage, DrainPage};
pub use context::{Context, Section, Theme};
pub use domains::{DomainPage, DomainRemoval, DomainRow, DomainsPage};
pub use draft::{Draft, DraftView};
pub use failure::{Failure, FailureView};
pub use form::{Form, Reason};
pub use home::{Attention, Create, CreateView, Figure, Figures, HomeView, Made};
pub use link::{Clash, LinkConflictView, LinkDeleteView, LinkDeletedView, LinkEditView, LinkHead, Tab};
pub use link_form::{changed_since, edit_of, field_label, field_names, form_of, instant, prints};
pub use link_history::{Entry, LinkHistoryView};
pub use link_item::{LinkItem, State, escaped};
pub use link_qr::LinkQrView;
pub use link_rules::{LinkRulesView, Names, Tried, Verdict};
pub use links::{Column, LinksView, ListView, Listing};
pub use rules_form::RulesForm;
pub use sessions::{SessionRow, SessionsView};
pub use sign_in::{OneTimeView, SignInView};
pub use stats::{
    Asked, Breakdown, LinkStatsView, OrphanRow, StatFigure, StatisticsView, Stats, Tagged, TopLink, TopList, TopView,
};
pub use tags::{TagPage, TagRow, TagsPage};
pub use texts::{Language, language};
pub use tools::{OpenSearch, ToolsView, manifest};
