//! Answers that may lack some shards.

use serde_json::Value;

use super::exit;
use crate::complain;

/// The exit code of an answer with these shards in `partial`; says what is missing. `what` is what the answer is.
pub(super) fn ended(partial: &Value, what: &str) -> u8 {
    let shards: Vec<String> = partial.as_array().into_iter().flatten().map(Value::to_string).collect();
    if shards.is_empty() {
        return exit::OK;
    }
    complain!("waypost: {what}: no node could answer for all links of the shards {}", shards.join(", "));
    exit::PARTLY
}
