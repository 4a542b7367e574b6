//! What came of the changes of many links, link by link.

use super::refused;
use crate::app::ChangeError;
use crate::ui::{Context, Outcome, UNDO_BYTES_MAX};

/// How many failures are shown, each with its reason.
const FAILURES_SHOWN: usize = 20;

/// Notes a link that was changed, for the undo as long as there is room.
pub(super) fn changed(outcome: &mut Outcome, name: String) {
    outcome.changed += 1;
    if let Some(names) = &mut outcome.names {
        let bytes: usize = names.iter().map(|name| name.len() + 8).sum();
        names.push(name);
        if bytes > UNDO_BYTES_MAX {
            outcome.names = None;
        }
    }
}

/// Notes why a link could not be changed.
pub(super) fn fail(outcome: &mut Outcome, name: &str, why: String) {
    outcome.failed += 1;
    if outcome.failures.len() < FAILURES_SHOWN {
        outcome.failures.push((name.trim().to_owned(), why));
    }
}

/// Notes a link that was not changed.
pub(super) fn note(outcome: &mut Outcome, cx: &Context, name: &str, error: &ChangeError) {
    let why = match error {
        ChangeError::NotFound => cx.t("bulk.gone").to_owned(),
        ChangeError::VersionMismatch { .. } => cx.t("bulk.changed").to_owned(),
        ChangeError::Tags(error) => refused::property(cx, *error),
        ChangeError::Call(error) => refused::call(cx, error),
        other => other.to_string(),
    };
    fail(outcome, name, why);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_undo_ends_where_its_form_would_be_too_long() {
        let mut outcome = Outcome { names: Some(Vec::new()), ..Outcome::default() };
        for number in 0..UNDO_BYTES_MAX {
            changed(&mut outcome, format!(" {number:07}"));
            if outcome.names.is_none() {
                break;
            }
            assert!(number < UNDO_BYTES_MAX / 8);
        }
        assert!(outcome.names.is_none() && outcome.changed > 2000);
    }
}
