//! waypost-testkit
