//! A listener with services that a node does not have, to see what its connections cost.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix_http::body::{BodyStream, BoxBody};
use actix_http::{Request, Response, StatusCode};
use actix_service::{ServiceFactory as _, fn_service};
use bytes::Bytes;
use futures_util::stream;
use waypost_telemetry::Metrics;

use super::{Addresses, ConnectionLimits, NoFastPath, Served, Tracked, serve};

const PIECE: usize = 64 * 1024;

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < Duration::from_secs(60), "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[actix::test]
async fn an_answer_without_end_is_made_as_far_as_it_is_taken_and_its_client_cut_off_when_it_takes_no_more() {
    let (made, metrics) = (Arc::new(AtomicUsize::new(0)), Metrics::new());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let limits = ConnectionLimits {
        connections_max: 10,
        addresses: Addresses::new(10, Vec::new()),
        keep_alive: Duration::from_secs(3600),
        request: Duration::from_secs(3600),
        write: Duration::from_millis(300),
    };
    let counted = made.clone();
    let server = serve("public", "http-worker", listener, 1, limits, &metrics, move || {
        let made = counted.clone();
        async move {
            let endless = fn_service(move |_: Request| {
                let made = made.clone();
                let pieces = stream::repeat_with(move || {
                    made.fetch_add(PIECE, Ordering::Relaxed);
                    std::io::Result::Ok(Bytes::from(vec![b'x'; PIECE]))
                });
                let body = BoxBody::new(BodyStream::new(pieces));
                async move { Ok::<_, actix_web::Error>(Response::with_body(StatusCode::OK, body)) }
            });
            let service = Rc::new(Tracked::new(endless.new_service(()).await?));
            Ok(Served { service, fast: NoFastPath })
        }
    });
    let server = server.unwrap();
    let handle = server.handle();
    tokio::task::spawn_local(server);
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let has = |line: &str| metrics.render().lines().any(|have| have == line);
    until("the client is not cut off", || has("waypost_http_connections_late_total{deadline=\"write\"} 1")).await;
    until("the connection stays", || has("waypost_http_connections{listener=\"public\"} 0")).await;
    let made = made.load(Ordering::Relaxed);
    // What the system of the client takes before it reads anything is not ours to say: a few megabytes.
    assert!((PIECE..16 << 20).contains(&made), "{made} bytes were made for a client that reads nothing");
    handle.stop(false).await;
}
