//! What errors, fields and records say of themselves: callers decide by it whether a write may be repeated, and what fits where.

use std::borrow::Borrow;

use waypost_protocol::command::NodeRecord;
use waypost_protocol::peer::PeerError;
use waypost_protocol::{CallError, Code, NodeId, ServiceError};

#[test]
fn only_a_request_that_was_sent_may_have_been_acted_on() {
    let sent = [PeerError::Lost, PeerError::Timeout];
    let not_sent = [PeerError::Unreachable(String::new()), PeerError::Overloaded, PeerError::Refused("no".to_owned())];
    assert!(sent.iter().all(PeerError::outcome_unknown));
    assert!(!not_sent.iter().any(PeerError::outcome_unknown));
}

#[test]
fn a_write_that_was_cut_off_is_unknown_and_one_that_was_refused_is_not() {
    let service = "link-store";
    let ended = CallError::Service(ServiceError::OutcomeUnknown("it ended".to_owned()));
    let unknown = [CallError::Deadline { service }, CallError::Unavailable { service }, ended];
    let known = [CallError::Unreachable { service }, CallError::Overloaded { service }];
    assert!(unknown.iter().all(CallError::outcome_unknown));
    assert!(!known.iter().any(CallError::outcome_unknown));
    assert!(unknown.iter().chain(&known).all(CallError::retryable));
    let passing =
        [ServiceError::Unavailable(String::new()), ServiceError::ReadOnly(String::new())].map(CallError::Service);
    let lasting =
        [ServiceError::NotHere { leader: None }, ServiceError::TooLarge(String::new())].map(CallError::Service);
    assert!(passing.iter().all(CallError::retryable) && !lasting.iter().any(CallError::retryable));
    assert!(!passing.iter().chain(&lasting).any(CallError::outcome_unknown));
}

#[test]
fn a_code_is_found_by_its_text_and_words_of_routes_are_reserved_in_any_case() {
    let code = Code::from_path("aBc-12").unwrap();
    let text: &str = code.borrow();
    assert_eq!(text, "aBc-12");
    let reserved = |text: &str| Code::from_path(text).unwrap().is_reserved();
    assert!(reserved("health") && reserved("Health"));
    assert!(!reserved("healthy"));
}

#[test]
fn only_nodes_with_a_link_store_hold_replicas() {
    let node = |services: &[&str]| NodeRecord {
        id: NodeId(1),
        name: String::new(),
        peer: String::new(),
        http: String::new(),
        zone: String::new(),
        services: services.iter().map(|service| (*service).to_owned()).collect(),
        drain: false,
    };
    assert!(node(&["redirector", "link_store"]).stores());
    assert!(!node(&["redirector", "click_counter"]).stores() && !node(&[]).stores());
}
