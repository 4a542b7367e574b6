//! What a stranger can do at the peer port: it is refused, and counted.

use std::time::Duration;

use crate::common::{CLUSTER, ECHO, HANDSHAKES_MAX, Net, Side, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use waypost_protocol::NodeId;
use waypost_protocol::peer::{Lane, Peers};

const REFUSED: &str = "waypost_peer_handshakes_refused_total";

/// Reads until the other side closes.
async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    let reading = stream.read_to_end(&mut said);
    // Closed with or without a reset.
    let _ = tokio::time::timeout(crate::common::LATER, reading).await.expect("the connection has to be closed");
    said
}

async fn pair() -> (Side, Side) {
    let net = Net::tcp();
    let (one, two) = (Side::start(&net, 1).await, Side::start(&net, 2).await);
    one.knows(&two);
    one.call(2, Lane::Calls, ECHO, 0, Vec::new()).await.unwrap();
    (one, two)
}

#[tokio::test]
async fn bytes_that_are_no_handshake_end_the_connection_and_nothing_else() {
    let (one, two) = pair().await;
    let mut http = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
    http.resize(4096, b' ');
    let oversized = u32::MAX.to_be_bytes().to_vec();
    let nonsense = [&16u32.to_be_bytes()[..], &[0xAB; 16]].concat();
    let mut expected = two.metric(REFUSED);
    for bytes in [http, oversized, nonsense, (0..64u8).cycle().skip(7).take(5000).collect()] {
        let mut stream = TcpStream::connect(&two.address).await.unwrap();
        let _ = stream.write_all(&bytes).await;
        until_closed(&mut stream).await;
        expected += 1.0;
        eventually("it was counted", async || two.metric(REFUSED) >= expected).await;
        one.call(2, Lane::Calls, ECHO, 0, b"still here".to_vec()).await.unwrap();
    }
}

#[tokio::test]
async fn connections_that_say_nothing_are_closed_and_make_room() {
    let (one, two) = pair().await;
    let mut silent = Vec::new();
    for _ in 0..HANDSHAKES_MAX * 2 {
        silent.push(TcpStream::connect(&two.address).await.unwrap());
    }
    one.call(2, Lane::Calls, ECHO, 0, Vec::new()).await.expect("a connection that stands is not disturbed");
    for stream in &mut silent {
        assert!(until_closed(stream).await.is_empty());
    }
    eventually("all were counted", async || two.metric(REFUSED) >= (HANDSHAKES_MAX * 2) as f64).await;
    one.call(2, Lane::Consensus, ECHO, 0, Vec::new()).await.expect("there is room for a new connection");
}

/// Copies the bytes of both sides, and keeps what the dialer sent.
async fn tap(to: String) -> (String, tokio::task::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let heard = tokio::spawn(async move {
        let (near, _) = listener.accept().await.unwrap();
        let (mut from_near, mut to_near) = near.into_split();
        let (mut from_far, mut to_far) = TcpStream::connect(to).await.unwrap().into_split();
        tokio::spawn(async move { tokio::io::copy(&mut from_far, &mut to_near).await });
        let mut heard = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(read) = from_near.read(&mut buffer).await
            && read > 0
        {
            heard.extend_from_slice(&buffer[..read]);
            to_far.write_all(&buffer[..read]).await.unwrap();
        }
        heard
    });
    (address, heard)
}

#[tokio::test]
async fn a_handshake_that_was_overheard_opens_nothing_when_it_is_repeated() {
    let net = Net::tcp();
    let (one, two) = (Side::start(&net, 1).await, Side::start(&net, 2).await);
    let (address, heard) = tap(two.address.clone()).await;
    one.transport.set_address(NodeId(2), &address);
    one.call(2, Lane::Calls, ECHO, 0, b"secret".to_vec()).await.unwrap();
    one.stop().await;
    let heard = heard.await.unwrap();
    let (served, refused) = (two.served(), two.metric(REFUSED));
    let mut stream = TcpStream::connect(&two.address).await.unwrap();
    let _ = stream.write_all(&heard).await;
    until_closed(&mut stream).await;
    eventually("it was counted", async || two.metric(REFUSED) > refused).await;
    assert_eq!(two.served(), served, "the request that was repeated with it was not served");
}

#[tokio::test]
async fn a_member_that_sends_damaged_or_oversized_frames_loses_its_connection_only() {
    let (one, two) = pair().await;
    // A second connection to the same node, through a proxy that damages everything after the handshake.
    for damage in [vec![0xFF; 64], (64u32 << 20).to_be_bytes().to_vec()] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let to = two.address.clone();
        tokio::spawn(async move {
            let (near, _) = listener.accept().await.unwrap();
            let (mut from_near, mut to_near) = near.into_split();
            let (mut from_far, mut to_far) = TcpStream::connect(to).await.unwrap().into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_far, &mut to_near).await });
            // The dialer sends two messages in the handshake; everything after them is replaced.
            for _ in 0..2 {
                let length = from_near.read_u32().await.unwrap();
                let mut message = vec![0; length as usize];
                from_near.read_exact(&mut message).await.unwrap();
                to_far.write_u32(length).await.unwrap();
                to_far.write_all(&message).await.unwrap();
            }
            let _ = from_near.read_u8().await;
            let _ = to_far.write_all(&damage).await;
            let mut rest = Vec::new();
            let _ = from_near.read_to_end(&mut rest).await;
        });
        let three = Side::of_cluster(&Net::tcp(), 3, CLUSTER, "the secret of the tests").await;
        three.transport.set_address(NodeId(2), &address);
        let (before, bad) = (two.served(), two.metric("waypost_peer_bad_frames_total"));
        let answer = three.transport.call(NodeId(2), Lane::Calls, ECHO, 0, Vec::new(), Duration::from_secs(10)).await;
        assert!(answer.is_err());
        assert_eq!(two.served(), before);
        eventually("it was counted", async || two.metric("waypost_peer_bad_frames_total") > bad).await;
        one.call(2, Lane::Calls, ECHO, 0, Vec::new()).await.expect("another connection is not disturbed");
    }
}

#[tokio::test]
async fn a_node_with_a_certificate_of_another_authority_is_refused() {
    let (net, other) = (Net::tls(), Net::tls());
    let (one, stranger) = (Side::start(&net, 1).await, Side::start(&other, 2).await);
    stranger.knows(&one);
    one.knows(&stranger);
    stranger.call(1, Lane::Calls, ECHO, 0, Vec::new()).await.unwrap_err();
    one.call(2, Lane::Calls, ECHO, 0, Vec::new()).await.unwrap_err();
    let plain = Side::start(&Net::tcp(), 3).await;
    plain.knows(&one);
    plain.call(1, Lane::Calls, ECHO, 0, Vec::new()).await.unwrap_err();
    assert_eq!((one.served(), stranger.served()), (0, 0));
}
