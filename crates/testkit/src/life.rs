//! What one link may answer: a history of changes that were acknowledged, one after the other, by whom.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How old the answer of a node may be through which a link was not changed, by default.
pub(crate) const BOUND: Duration = Duration::from_secs(1);

/// Where a link leads; `None` = there is no such link.
pub(crate) type Target = Option<String>;

struct Past {
    target: Target,
    /// When the change to what came after was acknowledged, and by which node.
    until: Instant,
    through: SocketAddr,
}

/// The life of one link, of which one client makes all changes.
pub(crate) struct Life {
    pub(crate) code: String,
    now: Target,
    past: Vec<Past>,
    /// Changes whose outcome is not known: they may come to be at any time.
    doubt: Vec<Target>,
}

impl Life {
    /// A link that was acknowledged.
    pub(crate) fn new(code: String, url: String) -> Self {
        Self { code, now: Some(url), past: Vec::new(), doubt: Vec::new() }
    }

    /// Where it leads now, if that is known.
    pub(crate) fn target(&self) -> Option<&Target> {
        self.doubt.is_empty().then_some(&self.now)
    }

    /// A change was acknowledged at `at`, by the node `through`.
    pub(crate) fn change(&mut self, target: Target, at: Instant, through: SocketAddr) {
        self.past.retain(|past| past.until + BOUND > at);
        let target = std::mem::replace(&mut self.now, target);
        self.past.push(Past { target, until: at, through });
    }

    /// A change was asked for, and nobody knows whether it was made.
    pub(crate) fn doubt(&mut self, target: Target) {
        self.doubt.push(target);
    }

    /// Whether the node `by`, asked at `asked`, may say that the link leads there.
    pub(crate) fn allows(&self, target: &Target, asked: Instant, by: SocketAddr) -> bool {
        if self.now == *target || self.doubt.contains(target) {
            return true;
        }
        for past in self.past.iter().rev() {
            // Who has acknowledged a change shows it at once, all others within the bound.
            if past.through == by || past.until + BOUND <= asked {
                return false;
            }
            if past.target == *target {
                return true;
            }
        }
        false
    }

    /// For messages: where it leads, and where it led.
    pub(crate) fn told(&self, asked: Instant) -> String {
        let past = self.past.iter().map(|past| {
            format!(
                "{:?} until {:?} before, changed by {}",
                past.target,
                asked.checked_duration_since(past.until),
                past.through
            )
        });
        format!("{:?} (before: {:?}; in doubt: {:?})", self.now, past.collect::<Vec<_>>(), self.doubt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(url: &str) -> Target {
        Some(url.to_owned())
    }

    #[test]
    fn an_old_answer_is_allowed_for_the_bound_and_never_from_who_has_changed_it() {
        let [one, other] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let at = Instant::now();
        let mut life = Life::new("abc".to_owned(), "a".to_owned());
        life.change(to("b"), at, one);
        assert!(life.allows(&to("b"), at, one) && life.allows(&to("b"), at, other));
        assert!(life.allows(&to("a"), at + BOUND / 2, other));
        assert!(!life.allows(&to("a"), at + BOUND / 2, one), "it has acknowledged the change");
        assert!(!life.allows(&to("a"), at + BOUND, other), "the bound is over");
        assert!(!life.allows(&None, at, other), "it was never deleted");
        life.change(None, at + BOUND / 2, other);
        assert!(life.allows(&to("a"), at + BOUND / 2, SocketAddr::from(([127, 0, 0, 1], 3))));
        assert!(!life.allows(&to("a"), at + BOUND / 2, one), "it has seen what came after");
        assert!(life.allows(&to("b"), at + BOUND, one));
        assert!(!life.allows(&to("b"), at + BOUND / 2, other));
    }

    #[test]
    fn a_change_in_doubt_may_come_to_be_at_any_time() {
        let node = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut life = Life::new("abc".to_owned(), "a".to_owned());
        assert_eq!(life.target(), Some(&to("a")));
        life.doubt(None);
        let later = Instant::now() + BOUND * 100;
        assert!(
            life.allows(&to("a"), later, node)
                && life.allows(&None, later, node)
                && !life.allows(&to("b"), later, node)
        );
        assert_eq!(life.target(), None);
    }
}
