//! Janitor: upkeep. It holds no data and answers no message: its rounds begin by themselves.

use crate::list;
use crate::message::Service;

/// The service that removes what is no longer wanted and looks for damage.
#[derive(Debug)]
pub struct Janitor;

impl Service for Janitor {
    const NAME: &'static str = "janitor";
    type Messages = list![];
}
