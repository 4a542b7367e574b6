//! What the commands about sessions of the dashboard do to the state of group 0.

use waypost_protocol::command::{
    EndOtherSessionsOutcome, EndSessionOutcome, OpenSessionOutcome, RefreshSessionOutcome,
};
use waypost_protocol::session::{
    EndOtherSessions, EndSession, OpenSession, RefreshSession, SESSIONS_MAX, SessionId, SessionRecord, TokenAge,
};

use super::cluster_state::ClusterState;

impl ClusterState {
    pub(super) fn open_session(&mut self, open: &OpenSession) -> OpenSessionOutcome {
        // The key was checked before, on a node: it may have been replaced since then, which has ended its sessions.
        if open.key.is_some() && open.key != self.admin_key {
            return OpenSessionOutcome::KeyChanged;
        }
        let id = SessionId::of(&open.token);
        // Perhaps the answer to the same command was lost.
        if self.sessions.contains_key(&id) {
            return OpenSessionOutcome::Done;
        }
        while self.sessions.len() >= SESSIONS_MAX {
            let longest_unused = self.sessions.iter().min_by_key(|(id, session)| (session.used_at, **id));
            let Some(id) = longest_unused.map(|(id, _)| *id) else { break };
            self.sessions.remove(&id);
        }
        let record = SessionRecord {
            current: open.token,
            next: None,
            previous: None,
            by: open.by,
            created_at: open.at,
            used_at: open.at,
            idle_until: open.idle_until,
            ends_at: open.ends_at,
            secure: open.secure,
            device: open.device.clone(),
        };
        self.sessions.insert(id, record);
        OpenSessionOutcome::Done
    }

    pub(super) fn refresh_session(&mut self, refresh: &RefreshSession) -> RefreshSessionOutcome {
        let Some(session) = self.sessions.get_mut(&refresh.session) else { return RefreshSessionOutcome::NotFound };
        match session.token(&refresh.seen, refresh.at) {
            None => return RefreshSessionOutcome::NotFound,
            // Another node was quicker, or this command was applied before.
            Some(TokenAge::Previous) => {}
            Some(TokenAge::Current) => session.next = Some(refresh.next),
            Some(TokenAge::Next) => {
                session.previous = Some((session.current, refresh.previous_until));
                session.current = refresh.seen;
                session.next = None;
            }
        }
        session.used_at = session.used_at.max(refresh.at);
        session.idle_until = session.idle_until.max(refresh.idle_until);
        RefreshSessionOutcome::Done
    }

    pub(super) fn end_session(&mut self, end: &EndSession) -> EndSessionOutcome {
        self.sessions.remove(&end.session);
        EndSessionOutcome::Done
    }

    pub(super) fn end_other_sessions(&mut self, end: &EndOtherSessions) -> EndOtherSessionsOutcome {
        self.sessions.retain(|id, _| *id == end.kept);
        EndOtherSessionsOutcome::Done
    }
}
