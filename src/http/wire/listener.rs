//! A listener whose connections have limits.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_http::body::BoxBody;
use actix_http::error::DispatchError;
use actix_http::{HttpService, KeepAlive, Request, Response};
use actix_server::Server;
use actix_service::{Service, ServiceFactory as _, fn_factory};
use futures_util::future::{Either, Ready, ready};
use socket2::SockRef;
use tokio::net::TcpStream;
use waypost_tasks::{Task, Tasks};
use waypost_telemetry::Metrics;

use super::fast::{self, FastPath};
use super::refusal;
use super::stream::Guarded;
use super::worker::{ConnectionLimits, Connections};
use crate::http::account;
use crate::http::problem::Problem;
use crate::threads::name_current;

/// The bytes that may wait in the kernel for a client that does not take them, beyond those in flight. More would only hide how
/// slow the client is, and take memory for each client that never reads.
const UNSENT_BYTES_MAX: u32 = 64 * 1024;

/// What a worker serves.
pub(in crate::http) struct Served<S, P> {
    /// What is behind actix-http.
    pub(in crate::http) service: Rc<S>,
    /// What is before it.
    pub(in crate::http) fast: P,
}

/// Starts a listener with so many workers, whose threads are named `thread`. `make` creates the service of a worker, on its thread.
///
/// # Errors
/// When the listener cannot be used.
pub(in crate::http) fn serve<S, P, Make, Made>(
    name: &'static str,
    thread: &'static str,
    listener: TcpListener,
    workers: usize,
    limits: ConnectionLimits,
    metrics: &Metrics,
    make: Make,
) -> io::Result<Server>
where
    Make: Fn() -> Made + Clone + Send + 'static,
    Made: Future<Output = Result<Served<S, P>, ()>> + 'static,
    P: FastPath + 'static,
    S: Service<Request, Response = Response<BoxBody>, Error = actix_web::Error> + 'static,
    S::Future: 'static,
{
    let metrics = metrics.clone();
    let server = Server::build()
        .workers(workers)
        .max_concurrent_connections(limits.connections_max)
        .disable_signals()
        .listen(name, listener, move || {
            let (limits, metrics, make) = (limits.clone(), metrics.clone(), make.clone());
            fn_factory(move || {
                let (limits, metrics, make) = (limits.clone(), metrics.clone(), make.clone());
                async move {
                    name_current(thread);
                    let connections = Connections::new(name, &limits, &metrics);
                    Tasks::new(&metrics).spawn_once_local(Task::Deadlines, connections.clone().sweep());
                    let Served { service, fast } = make().await?;
                    // The sweep enforces the deadlines: those of actix-http cover only the first head, and set a timer for each request.
                    let http = HttpService::build()
                        .keep_alive(KeepAlive::Os)
                        .client_request_timeout(Duration::ZERO)
                        .on_connect_ext(|stream: &Guarded<TcpStream>, data| {
                            data.insert(stream.conn().clone());
                            data.insert(account::Connection::new(stream.local_addr()));
                        })
                        .h1(fn_factory(move || ready(Ok::<_, ()>(service.clone()))));
                    let http = Rc::new(http.new_service(()).await?);
                    Ok::<_, ()>(Gate { connections, fast: Rc::new(fast), http })
                }
            })
        })?;
    Ok(server.run())
}

/// Admits connections, up to the limit of each client.
struct Gate<P, H> {
    connections: Rc<Connections>,
    fast: Rc<P>,
    http: Rc<H>,
}

impl<P, H> Service<TcpStream> for Gate<P, H>
where
    P: FastPath,
    H: Service<(Guarded<TcpStream>, Option<SocketAddr>), Response = (), Error = DispatchError>,
{
    type Response = ();
    type Error = DispatchError;
    type Future = Either<fast::Connection<TcpStream, P, H>, Ready<Result<(), DispatchError>>>;

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.http.poll_ready(cx)
    }

    fn call(&self, stream: TcpStream) -> Self::Future {
        let address = stream.peer_addr().ok();
        let Some(seat) = self.connections.enter(address.map(|address| address.ip())) else {
            refuse(&stream);
            return Either::Right(ready(Ok(())));
        };
        // Answers are written whole, so there is nothing to wait for.
        let _ = stream.set_nodelay(true);
        // A system without this option keeps more bytes for slow clients, nothing else.
        let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
        let conn = self.connections.add(seat);
        let stream = Guarded::new(stream, conn, self.connections.clone());
        Either::Left(fast::Connection::new(stream, address, self.fast.clone(), self.http.clone()))
    }
}

/// Sends the reason, if the socket takes it at once: a client with too many connections is not waited for.
fn refuse(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let answer = refusal::whole(&Problem::too_many_connections());
    if socket.send(&answer).is_ok() {
        let _ = socket.shutdown(Shutdown::Write);
    }
}
