//! Janitor: maintenance. It holds no data and answers no message: it starts its rounds by itself.

use crate::list;
use crate::message::Service;

/// The service that removes expired links and looks for damage.
#[derive(Debug)]
pub struct Janitor;

impl Service for Janitor {
    const NAME: &'static str = "janitor";
    type Messages = list![];
}
