//! Why links of a change of many could not be changed.

use super::refused;
use crate::app::ChangeError;
use crate::ui::{Context, Outcome, Reason};

/// How many failures are shown, each with its reason.
const FAILURES_SHOWN: usize = 20;

/// Notes why a link could not be changed.
pub(super) fn fail(outcome: &mut Outcome, name: &str, why: impl Into<Reason>) {
    outcome.failed += 1;
    if outcome.failures.len() < FAILURES_SHOWN {
        outcome.failures.push((name.trim().to_owned(), why.into()));
    }
}

/// Notes a link that was not changed.
pub(super) fn note(outcome: &mut Outcome, cx: &Context, name: &str, error: &ChangeError) {
    let why = match error {
        ChangeError::NotFound => cx.t("bulk.gone").into(),
        ChangeError::VersionMismatch { .. } => cx.t("bulk.changed").into(),
        ChangeError::NotYet(_) => cx.t("refused.not-yet").into(),
        ChangeError::Tags(error) => refused::property(cx, *error),
        ChangeError::Call(error) => refused::call(cx, error).into(),
        other => Reason::in_english(other.to_string()),
    };
    fail(outcome, name, why);
}
