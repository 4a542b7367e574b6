//! Changes of all links that fit a filter, and of a tag: the page is sent as they are made, so that it tells how far it is, also without scripts.

use std::collections::VecDeque;

use actix_web::{HttpResponse, web};
use askama::Template;
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;
use waypost_protocol::listing::{LinkFilter, Matches};
use waypost_protocol::properties::{DISABLED, Set};
use waypost_protocol::{FieldChanges, LinkKey};

use super::bulk_outcome::note;
use super::reply;
use crate::app::{LinkEdit, Principal, Sweep, SweepChange, SweepStep, TagEdit};
use crate::http::bulk::BULK_REQUESTS_MAX;
use crate::http::problem::Problem;
use crate::http::state::NodeState;
use crate::ui::{Action, BulkOutcomeView, BulkStepView, BulkStepsView, Context, Outcome, STEPS};

/// A sweep whose page is being sent.
pub(super) struct Sweeping {
    principal: Principal,
    node: web::Data<NodeState>,
    cx: Context,
    action: Action,
    back: String,
    sweep: Sweep,
    outcome: Outcome,
    /// What is still to be sent without another step.
    pieces: VecDeque<String>,
    /// The end of the page.
    tail: String,
    ended: bool,
    /// Held while the page is sent.
    _permit: OwnedSemaphorePermit,
}

/// The tags that an action gives and takes; `None` = it is about something else.
pub(super) fn edit_tags(action: &Action) -> Option<TagEdit> {
    let replace = |tag: &String, with: Option<&String>| vec![(tag.clone(), with.cloned())];
    Some(match action {
        Action::Tag(tag) => TagEdit { replace: Vec::new(), add: vec![tag.clone()] },
        Action::Untag(tag) => TagEdit { replace: replace(tag, None), add: Vec::new() },
        Action::Rename { tag, with } => TagEdit { replace: replace(tag, Some(with)), add: Vec::new() },
        Action::Disable | Action::Enable | Action::Delete => return None,
    })
}

/// Begins what is to be done with all links that fit a filter. Nothing is changed yet.
pub(super) async fn sweep_of(
    principal: &Principal,
    node: &NodeState,
    action: &Action,
    filter: LinkFilter,
) -> Result<Sweep, Problem> {
    let edit = LinkEdit::default();
    let change = match edit_tags(action) {
        Some(tags) => SweepChange::Edit { edit, tags },
        None if *action == Action::Delete => SweepChange::Delete,
        None => {
            let mut fields = FieldChanges::default();
            DISABLED.change(&mut fields, (*action == Action::Disable).then_some(&Set));
            SweepChange::Edit { edit: LinkEdit { fields, ..edit }, tags: TagEdit::default() }
        }
    };
    // The page has asked how many are meant, so all may be.
    let sweep = node.app.sweep(principal, filter, true, change).await;
    sweep.map_err(|error| Problem::of_change(error, None))
}

impl Sweeping {
    /// Answers with the page of the steps.
    pub(super) fn answer(
        principal: Principal,
        node: web::Data<NodeState>,
        cx: Context,
        action: Action,
        back: String,
        sweep: Sweep,
    ) -> Result<HttpResponse, Problem> {
        let permit = node.bulk_requests.clone().try_acquire_owned();
        let permit = permit
            .map_err(|_| Problem::not_ready(format!("{BULK_REQUESTS_MAX} bulk requests are being answered already")))?;
        let frame = BulkStepsView { cx: cx.clone(), action: action.clone() }.render();
        let frame = frame.expect("invariant: writing a page to memory does not fail");
        let (head, tail) = frame.split_once(STEPS).expect("invariant: a test looks for the place of the steps");
        let sweeping = Self {
            pieces: VecDeque::from([head.to_owned()]),
            tail: tail.to_owned(),
            outcome: Outcome::new(node.body_max_bytes),
            ended: false,
            principal,
            node,
            cx,
            action,
            back,
            sweep,
            _permit: permit,
        };
        let mut response = HttpResponse::Ok();
        reply::page_headers(&mut response);
        Ok(response.streaming(stream::unfold(sweeping, Self::next)))
    }

    async fn next(mut self) -> Option<(Result<Bytes, actix_web::Error>, Self)> {
        if let Some(piece) = self.pieces.pop_front() {
            return Some((Ok(piece.into()), self));
        }
        if self.ended {
            return None;
        }
        // A node that stops begins no further step; what came of the last one was told.
        if self.node.draining() {
            let piece = self.end(Some("bulk.draining"));
            return Some((Ok(piece.into()), self));
        }
        let piece = match self.node.app.sweep_step(&self.principal, &mut self.sweep).await {
            Ok(Some(step)) => {
                self.note(step);
                let Matches { total, .. } = self.sweep.matches().unwrap_or_default();
                let done = self.outcome.changed + self.outcome.unchanged + self.outcome.failed;
                BulkStepView { cx: &self.cx, done, links: total.max(done) }.render().unwrap_or_default()
            }
            Ok(None) if self.sweep.partial().next().is_some() => self.end(Some("bulk.partial")),
            Ok(None) => self.end(None),
            Err(_) => self.end(Some("bulk.stopped")),
        };
        Some((Ok(piece.into()), self))
    }

    fn note(&mut self, step: SweepStep) {
        let SweepStep { changed: keys, unchanged, failed } = step;
        self.outcome.unchanged += unchanged;
        for key in keys {
            let name = self.name_of(&key);
            self.outcome.change(name);
        }
        for (key, error) in failed {
            let name = self.name_of(&key);
            note(&mut self.outcome, &self.cx, &name, &error);
        }
    }

    fn name_of(&self, key: &LinkKey) -> String {
        let site = self.node.app.site(key.domain);
        format!("{} {}", site.host.as_ref().map(ToString::to_string).unwrap_or_default(), key.code)
    }

    /// The end of the page, with what came of it.
    fn end(&mut self, stopped: Option<&str>) -> String {
        self.ended = true;
        self.outcome.stopped = stopped.map(|key| self.cx.t(key).to_owned());
        let view = BulkOutcomeView {
            cx: self.cx.clone(),
            action: self.action.clone(),
            outcome: std::mem::take(&mut self.outcome),
            back: self.back.clone(),
        };
        format!("{}{}", view.render().unwrap_or_default(), self.tail)
    }
}
