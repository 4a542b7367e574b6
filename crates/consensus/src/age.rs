//! The age of a replica's state, decided from the answers of its leader. No clock, no network: times are arguments.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::limits::{
    AHEAD_COUNTS_FOR, ANSWERS_WAITING_MAX, FRESH, LAGS_AFTER, LEADERLESS_AFTER, LEADERLESS_AFTER_START, QUESTION_MAX,
    STOPPED_AFTER,
};

/// What a replica may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It shows everything that was acknowledged [`FRESH`] ago. This is valid until that moment.
    Fresh(Instant),
    /// No leader of its group can be reached, and no replica that has applied more: its state is the best available.
    Leaderless,
    /// Its leader or another replica is ahead of it.
    Lags,
    /// Unknown yet.
    Unsure,
}

/// The answer of a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The index up to which it has committed.
    pub index: u64,
    /// Its term.
    pub term: u64,
}

/// The answer of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// It leads, and is sure of that.
    Leads(Committed),
    /// It does not lead, or is not sure. The index up to which it has applied the log.
    Applied(u64),
}

/// The knowledge about one replica.
#[derive(Debug, Default)]
pub(crate) struct Age {
    /// Everything that was acknowledged before this moment is applied.
    shows: Option<Instant>,
    /// The times of questions to the leader, and the index that has to be applied to show everything from before.
    marks: VecDeque<(Instant, Committed)>,
    /// The index up to which it has applied the log.
    applied: u64,
    /// What a leader had committed when it was last asked, and when that was.
    told: Option<(Instant, u64)>,
    /// The highest index that others are known to have, and when that was last heard.
    ahead: Option<(Instant, u64)>,
    /// How long the leader has not answered.
    silent: Duration,
    /// Whether a leader has answered since the process was started or suspended.
    met: bool,
    /// Whether the leader that does not answer is heard otherwise, because it replicates.
    slow: bool,
    /// The term in which this replica leads and has applied all commits of earlier leaders.
    leads: Option<u64>,
    /// Whether, since it became a member, it has shown everything that was acknowledged before, or nobody could tell.
    caught_up: bool,
}

impl Age {
    /// A leader has answered the question of `asked`. `own`: this replica is the leader.
    pub(crate) fn heard(&mut self, asked: Instant, committed: Committed, own: bool, applied: u64) {
        (self.silent, self.met, self.slow) = (Duration::ZERO, true, false);
        self.told = Some((asked, committed.index));
        self.others_have(asked, committed.index);
        if own && self.leads == Some(committed.term) {
            // A leader acknowledges nothing that it has not applied itself.
            self.marks.clear();
            self.show(asked);
            return;
        }
        if self.marks.len() < ANSWERS_WAITING_MAX {
            self.marks.push_back((asked, committed));
        }
        let reached = self.applied(applied);
        // The list of marks may have been full.
        if own && reached && committed.index <= applied {
            self.leads = Some(committed.term);
        }
    }

    /// The replica has applied the log up to an index. Returns whether no mark is left.
    pub(crate) fn applied(&mut self, applied: u64) -> bool {
        self.applied = applied;
        while let Some((asked, committed)) = self.marks.front().copied() {
            if committed.index > applied {
                return false;
            }
            self.marks.pop_front();
            self.show(asked);
        }
        true
    }

    fn show(&mut self, asked: Instant) {
        self.shows = self.shows.max(Some(asked));
        self.caught_up = true;
    }

    /// What a leader had committed when it was asked at a moment or later: everything that was acknowledged before that moment is up to there.
    pub(crate) fn committed_since(&self, moment: Instant) -> Option<u64> {
        self.told.filter(|(asked, _)| *asked >= moment).map(|(_, index)| index)
    }

    /// Another member has applied the log up to an index, or committed it.
    pub(crate) fn others_have(&mut self, at: Instant, index: u64) {
        if self.ahead.is_none_or(|(since, known)| index >= known || since + AHEAD_COUNTS_FOR <= at) {
            self.ahead = Some((at, index));
        }
    }

    /// No leader has answered; `took` has passed since the last question. A leader that is `heard` otherwise, because it replicates, gets as
    /// much time as after a start: it is slow and not away, and its answers are fresher than this replica's. A killed leader counts as heard until
    /// its lease ends; from then on the time without answers counts.
    pub(crate) fn in_vain(&mut self, now: Instant, took: Duration, heard: bool) {
        self.slow = heard;
        if took >= STOPPED_AFTER {
            (self.silent, self.met) = (Duration::ZERO, false);
        } else {
            self.silent += took.min(QUESTION_MAX);
        }
        // As long as a leader replicates to it, this replica is not the best there is: the leader has everything.
        self.caught_up |= !self.slow && self.is_leaderless() && !self.is_behind(now);
    }

    fn is_leaderless(&self) -> bool {
        self.silent >= if self.met && !self.slow { LEADERLESS_AFTER } else { LEADERLESS_AFTER_START }
    }

    fn is_behind(&self, now: Instant) -> bool {
        self.ahead.is_some_and(|(at, index)| index > self.applied && now < at + AHEAD_COUNTS_FOR)
    }

    /// Whether a leader answered the last question.
    pub(crate) fn is_answered(&self) -> bool {
        self.silent == Duration::ZERO && self.caught_up
    }

    /// The replica is no longer a member, or its state is being replaced.
    pub(crate) fn left(&mut self) {
        *self = Self { ahead: self.ahead, ..Self::default() };
    }

    /// Whether, since it became a member, it has shown everything that was acknowledged before, or nobody could tell.
    pub(crate) fn caught_up(&self) -> bool {
        self.caught_up
    }

    /// What it may answer now.
    pub(crate) fn standing(&self, now: Instant) -> Standing {
        let fresh = self.shows.map(|shows| shows + FRESH);
        match fresh {
            Some(until) if until > now => Standing::Fresh(until),
            _ if self.caught_up && self.is_leaderless() && self.is_behind(now) => Standing::Lags,
            _ if self.caught_up && self.is_leaderless() => Standing::Leaderless,
            _ if self.marks.front().is_some_and(|(asked, _)| *asked + LAGS_AFTER <= now) => Standing::Lags,
            _ => Standing::Unsure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn to(index: u64) -> Committed {
        Committed { index, term: 1 }
    }

    #[test]
    fn a_replica_is_fresh_from_the_question_on_once_it_has_applied_what_the_leader_had_committed() {
        let (mut age, now) = (Age::default(), Instant::now());
        assert_eq!(age.standing(now), Standing::Unsure);
        age.heard(now, to(10), false, 9);
        assert!(!age.caught_up());
        assert_eq!(age.standing(now + MS), Standing::Unsure);
        assert!(age.applied(10));
        assert!(age.caught_up());
        assert_eq!(age.standing(now + MS), Standing::Fresh(now + FRESH));
        assert_eq!(age.standing(now + FRESH), Standing::Unsure);
    }

    #[test]
    fn what_a_leader_has_committed_counts_for_the_time_before_it_was_asked() {
        let (mut age, now) = (Age::default(), Instant::now());
        assert_eq!(age.committed_since(now), None);
        age.heard(now, to(10), false, 9);
        assert_eq!((age.committed_since(now), age.committed_since(now + MS)), (Some(10), None));
        age.heard(now + MS, to(12), false, 9);
        assert_eq!(age.committed_since(now + MS), Some(12));
        age.left();
        assert_eq!(age.committed_since(now), None);
    }

    #[test]
    fn a_replica_that_falls_behind_lags_although_it_hears_its_leader() {
        let (mut age, now) = (Age::default(), Instant::now());
        age.heard(now, to(10), false, 10);
        for step in 1..40 {
            age.heard(now + 50 * MS * step, to(10 + u64::from(step)), false, 10);
        }
        assert!(age.marks.len() <= ANSWERS_WAITING_MAX);
        assert_eq!(age.standing(now + FRESH), Standing::Lags);
        // It shows what was acknowledged until the last question in its list.
        assert!(age.applied(100));
        assert_eq!(age.standing(now + FRESH), Standing::Fresh(now + 50 * MS * ANSWERS_WAITING_MAX as u32 + FRESH));
    }

    #[test]
    fn without_an_answer_of_a_leader_the_replica_is_the_best_there_is_before_it_stops_being_fresh() {
        let (mut age, now) = (Age::default(), Instant::now());
        age.heard(now, to(10), false, 10);
        (0..4).for_each(|_| age.in_vain(now, 150 * MS, false));
        assert!(matches!(age.standing(now + 600 * MS), Standing::Fresh(_)));
        assert_eq!(age.standing(now + FRESH), Standing::Leaderless);
        age.heard(now + FRESH, to(11), false, 10);
        assert_eq!(age.standing(now + FRESH), Standing::Unsure);
    }

    #[test]
    fn the_time_that_a_process_was_stopped_is_no_time_in_which_it_has_asked() {
        let (mut age, now) = (Age::default(), Instant::now());
        age.heard(now, to(10), false, 10);
        (0..3).for_each(|_| age.in_vain(now, 150 * MS, false));
        let later = now + Duration::from_secs(3600);
        age.in_vain(now, Duration::from_secs(3600), false);
        assert_eq!(age.standing(later), Standing::Unsure);
        // Its connections come up first, as after a start.
        (0..19).for_each(|_| age.in_vain(now, 150 * MS, false));
        assert_eq!(age.standing(later), Standing::Unsure);
        age.in_vain(now, 150 * MS, false);
        assert_eq!(age.standing(later), Standing::Leaderless);
        age.heard(later, to(11), false, 11);
        (0..4).for_each(|_| age.in_vain(now, 150 * MS, false));
        assert_eq!(age.standing(later + FRESH), Standing::Leaderless, "it was connected before");
    }

    #[test]
    fn after_a_start_the_leader_is_looked_for_longer_and_then_the_own_state_serves() {
        let (mut age, now) = (Age::default(), Instant::now());
        (0..19).for_each(|_| age.in_vain(now, 150 * MS, false));
        assert!(!age.caught_up());
        assert_eq!(age.standing(now), Standing::Unsure);
        age.in_vain(now, 150 * MS, false);
        assert!(age.caught_up());
        assert_eq!(age.standing(now), Standing::Leaderless);
    }

    #[test]
    fn a_leader_that_replicates_and_answers_slowly_is_not_taken_for_lost() {
        let (mut age, now) = (Age::default(), Instant::now());
        age.heard(now, to(10), false, 10);
        (0..19).for_each(|_| age.in_vain(now, 150 * MS, true));
        assert_eq!(age.standing(now + FRESH), Standing::Unsure);
        age.in_vain(now, 150 * MS, true);
        assert_eq!(age.standing(now + FRESH), Standing::Leaderless);
    }

    #[test]
    fn a_replica_that_has_not_caught_up_leaves_the_answers_to_a_leader_that_replicates_however_slowly_it_answers() {
        let (mut age, now) = (Age::default(), Instant::now());
        (0..100).for_each(|_| age.in_vain(now, 150 * MS, true));
        assert!(!age.caught_up());
        assert_eq!(age.standing(now), Standing::Unsure);
        // The lease of that leader ends: nobody has more.
        age.in_vain(now, 150 * MS, false);
        assert!(age.caught_up());
        assert_eq!(age.standing(now), Standing::Leaderless);
    }

    #[test]
    fn a_leader_that_was_killed_is_lost_as_soon_as_its_lease_has_ended() {
        let (mut age, now) = (Age::default(), Instant::now());
        age.heard(now, to(10), false, 10);
        (0..6).for_each(|_| age.in_vain(now, 150 * MS, true));
        assert_eq!(age.standing(now + 900 * MS), Standing::Unsure, "it may be slow");
        age.in_vain(now, 150 * MS, false);
        assert_eq!(age.standing(now + 1050 * MS), Standing::Leaderless);
    }

    #[test]
    fn a_leader_whose_marks_are_all_waiting_has_not_applied_the_newest() {
        let (mut age, now) = (Age::default(), Instant::now());
        for step in 0..ANSWERS_WAITING_MAX as u32 {
            age.heard(now + step * MS, to(10), false, 9);
        }
        let committed = Committed { index: 20, term: 2 };
        age.heard(now + 50 * MS, committed, true, 10);
        age.heard(now + 60 * MS, committed, true, 10);
        assert!(age.standing(now + 60 * MS + FRESH - MS) != Standing::Fresh(now + 60 * MS + FRESH));
    }

    #[test]
    fn a_leader_needs_only_its_lease_once_it_has_applied_what_earlier_ones_had_committed() {
        let (mut age, now) = (Age::default(), Instant::now());
        age.heard(now, to(10), true, 9);
        assert_eq!(age.standing(now), Standing::Unsure, "an earlier leader may have acknowledged it");
        age.heard(now + MS, to(10), true, 10);
        // While it writes a snapshot it applies nothing, and acknowledges nothing.
        let later = now + Duration::from_secs(10);
        age.heard(later, to(50), true, 10);
        assert_eq!(age.standing(later), Standing::Fresh(later + FRESH));
        // In another term there may have been another leader in between.
        age.heard(later + FRESH, Committed { index: 60, term: 3 }, true, 59);
        assert_eq!(age.standing(later + FRESH), Standing::Unsure);
    }

    #[test]
    fn a_replica_that_comes_back_to_its_group_has_to_catch_up_again() {
        let (mut age, now) = (Age::default(), Instant::now());
        age.heard(now, to(10), false, 10);
        age.left();
        assert!(!age.caught_up());
        assert_eq!(age.standing(now), Standing::Unsure);
    }

    #[test]
    fn a_replica_that_knows_of_a_later_state_leaves_the_answers_to_others_until_that_state_may_be_lost() {
        // What a leader had committed before it was silent, and what another replica has applied, count alike.
        for told_by_leader in [true, false] {
            let (mut age, now) = (Age::default(), Instant::now());
            age.heard(now, to(10), false, 10);
            if told_by_leader {
                age.heard(now + MS, to(20), false, 10);
            } else {
                age.others_have(now + MS, 20);
            }
            (0..4).for_each(|_| age.in_vain(now + 600 * MS, 150 * MS, false));
            assert_eq!(age.standing(now + FRESH), Standing::Lags);
            let lost = now + MS + AHEAD_COUNTS_FOR;
            assert_eq!(age.standing(lost - MS), Standing::Lags);
            assert_eq!(age.standing(lost), Standing::Leaderless);
            // As soon as it has the same, it answers.
            age.applied(20);
            assert_eq!(age.standing(now + 2 * FRESH), Standing::Leaderless);
        }
    }

    #[test]
    fn a_replica_that_was_away_has_not_caught_up_as_long_as_another_one_has_more() {
        let (mut age, now) = (Age::default(), Instant::now());
        let asked = |round: u32| now + 150 * MS * round;
        for round in 0..100 {
            age.others_have(asked(round), 20);
            age.applied(10);
            age.in_vain(asked(round), 150 * MS, false);
        }
        assert!(!age.caught_up());
        // The other one has gone, too.
        (100..121).for_each(|round| age.in_vain(asked(round), 150 * MS, false));
        assert!(age.caught_up());
        assert_eq!(age.standing(asked(121)), Standing::Leaderless);
    }

    #[test]
    fn a_snapshot_that_is_installed_does_not_make_a_replica_forget_that_others_have_more() {
        let (mut age, now) = (Age::default(), Instant::now());
        age.heard(now, to(20), false, 10);
        age.left();
        age.applied(15);
        (0..20).for_each(|_| age.in_vain(now + FRESH, 150 * MS, false));
        assert!(!age.caught_up());
    }
}
