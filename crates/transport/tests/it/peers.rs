//! What nodes can rely on between each other: the same over TCP, over TLS and in memory.

use std::time::Duration;

use crate::common::{self, LATER, Net, SECOND, Side, eventually, fails_with, over_all_nets};
use waypost_protocol::peer::{Lane, PeerError, Peers};
use waypost_protocol::{Kind, NodeId};

#[tokio::test]
async fn a_request_is_answered_by_the_node_that_was_addressed() {
    over_all_nets(async |net| {
        let (one, two) = (Side::start(&net, 1).await, Side::start(&net, 2).await);
        one.knows(&two);
        for i in 0..50u32 {
            let answer = one.call(2, Lane::Calls, common::ECHO, i, vec![7; i as usize * 100]).await.unwrap();
            assert_eq!(answer, vec![7; i as usize * 100]);
        }
        let asked = one.call(2, Lane::Calls, common::WHO, 0, Vec::new()).await.unwrap();
        assert_eq!(asked, 1u64.to_le_bytes(), "the other side knows who asks");
    })
    .await;
}

#[tokio::test]
async fn a_node_that_joins_a_cluster_knows_its_members_on_connections_that_they_had_before() {
    over_all_nets(async |net| {
        let (one, two) = (Side::start(&net, 1).await, Side::start(&net, 2).await);
        one.knows(&two);
        let cluster = &two.transport.identity().cluster;
        *cluster.write() = None;
        assert_eq!(one.call(2, Lane::Calls, common::MEMBER, 0, Vec::new()).await.unwrap(), [0]);
        *cluster.write() = Some(common::CLUSTER);
        assert_eq!(one.call(2, Lane::Calls, common::MEMBER, 0, Vec::new()).await.unwrap(), [1]);
        *cluster.write() = Some([9; 16]);
        assert_eq!(one.call(2, Lane::Calls, common::MEMBER, 0, Vec::new()).await.unwrap(), [0]);
    })
    .await;
}

#[tokio::test]
async fn requests_on_one_link_do_not_wait_for_each_other() {
    over_all_nets(async |net| {
        let (one, two) = (Side::start(&net, 1).await, Side::start(&net, 2).await);
        one.knows(&two);
        let slow = one.call(2, Lane::Calls, common::SLEEP, 0, Vec::new());
        let fast = async {
            for _ in 0..20 {
                one.call(2, Lane::Calls, common::ECHO, 0, b"x".to_vec()).await.unwrap();
            }
        };
        tokio::select! {
            _ = slow => panic!("the slow one was answered first"),
            () = fast => {}
        }
    })
    .await;
}

#[tokio::test]
async fn a_request_that_is_not_answered_in_time_is_in_doubt() {
    over_all_nets(async |net| {
        let (one, two) = (Side::start(&net, 1).await, Side::start(&net, 2).await);
        one.knows(&two);
        one.call(2, Lane::Calls, common::ECHO, 0, Vec::new()).await.unwrap();
        let late = one
            .transport
            .call(NodeId(2), Lane::Calls, common::SLEEP, 0, Vec::new(), Duration::from_millis(50))
            .await
            .unwrap_err();
        assert_eq!(late, PeerError::Timeout);
        assert!(late.outcome_unknown());
    })
    .await;
}

#[tokio::test]
async fn a_node_that_went_away_and_came_back_is_found_again() {
    over_all_nets(async |net| {
        let (one, two) = (Side::start(&net, 1).await, Side::start(&net, 2).await);
        one.knows(&two);
        one.call(2, Lane::Calls, common::ECHO, 0, Vec::new()).await.unwrap();
        let hanging = one.call(2, Lane::Calls, common::SLEEP, 0, Vec::new());
        let address = two.address.clone();
        let (lost, ()) = tokio::join!(hanging, async {
            two.has_asked(common::SLEEP).await;
            two.stop().await;
        });
        let lost = lost.unwrap_err();
        assert!(matches!(lost, PeerError::Lost), "it may have been done: {lost}");
        eventually("calls fail at once", async || {
            matches!(one.call(2, Lane::Calls, common::ECHO, 0, Vec::new()).await, Err(PeerError::Unreachable(_)))
        })
        .await;
        let _again = Side::start_at(&net, 2, &address).await;
        eventually("the node is found again", async || {
            one.call(2, Lane::Calls, common::ECHO, 0, Vec::new()).await.is_ok()
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn another_node_at_the_address_is_not_taken_for_the_one_that_was_meant() {
    over_all_nets(async |net| {
        let (one, three) = (Side::start(&net, 1).await, Side::start(&net, 3).await);
        one.transport.set_address(NodeId(2), &three.address);
        let wrong = one.call(2, Lane::Calls, common::ECHO, 0, Vec::new()).await;
        fails_with(wrong, "looks for another node at this address");
        assert_eq!(three.served(), 0);
    })
    .await;
}

#[tokio::test]
async fn nodes_of_two_clusters_or_with_two_secrets_refuse_each_other_and_say_why() {
    over_all_nets(async |net| {
        let one = Side::start(&net, 1).await;
        let stranger = Side::of_cluster(&net, 2, [9; 16], "the secret of the tests").await;
        one.knows(&stranger);
        fails_with(one.call(2, Lane::Calls, common::ECHO, 0, Vec::new()).await, "belongs to another cluster");
        let spy = Side::of_cluster(&net, 3, common::CLUSTER, "a guess").await;
        one.knows(&spy);
        fails_with(one.call(3, Lane::Calls, common::ECHO, 0, Vec::new()).await, "does not know the secret");
        spy.knows(&one);
        fails_with(spy.call(1, Lane::Calls, common::ECHO, 0, Vec::new()).await, "does not know the secret");
        assert_eq!((one.served(), stranger.served(), spy.served()), (0, 0, 0));
    })
    .await;
}

#[tokio::test]
async fn what_the_other_side_refuses_arrives_with_its_reason() {
    over_all_nets(async |net| {
        let (one, two) = (Side::start(&net, 1).await, Side::start(&net, 2).await);
        one.knows(&two);
        let refused = one.call(2, Lane::Calls, Kind(99), 0, Vec::new()).await;
        assert_eq!(refused, Err(PeerError::Refused("nobody knows that".to_owned())));
    })
    .await;
}

#[tokio::test]
async fn more_requests_than_a_node_holds_are_refused_at_once() {
    let net = Net::tcp();
    let (one, two) = (Side::start(&net, 1).await, Side::start(&net, 2).await);
    one.knows(&two);
    let calls: Vec<_> = (0..common::REQUESTS_MAX + 10)
        .map(|_| {
            let transport = one.transport.clone();
            tokio::spawn(
                async move { transport.call(NodeId(2), Lane::Calls, common::SLEEP, 0, Vec::new(), LATER).await },
            )
        })
        .collect();
    let mut overloaded = 0;
    for call in calls {
        if overloaded == 10 {
            call.abort();
            continue;
        }
        if let Ok(Ok(Err(PeerError::Overloaded))) = tokio::time::timeout(SECOND / 20, call).await {
            overloaded += 1;
        }
    }
    assert_eq!(overloaded, 10);
    one.call(2, Lane::Consensus, common::ECHO, 0, Vec::new()).await.expect("the other lane has room of its own");
}
