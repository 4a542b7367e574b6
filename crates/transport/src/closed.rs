//! How a closed connection is reported: that the other side went away is not an error in what it sent.

use std::io::{self, ErrorKind};

/// A connection that the other side has ended.
pub(crate) const CLOSED: &str = "the other side has closed the connection";

/// Whether the error means that the other side went away. A killed process does not end its TLS session in order, and TLS calls that an error.
pub(crate) fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe
    )
}

/// The message for an error of a connection.
pub(crate) fn told(error: &io::Error) -> String {
    if is_closed(error) { CLOSED.to_owned() } else { error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_connection_is_told_without_advice_for_programmers() {
        let of_tls = "peer closed connection without sending TLS close_notify: https://docs.rs/rustls/latest";
        assert_eq!(told(&io::Error::new(ErrorKind::UnexpectedEof, of_tls)), CLOSED);
        assert_eq!(told(&ErrorKind::ConnectionReset.into()), CLOSED);
        assert_eq!(told(&io::Error::new(ErrorKind::InvalidData, "frame size too big")), "frame size too big");
    }
}
