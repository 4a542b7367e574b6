//! The public listener: the front service, and behind it the actix-web `App`.

use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actix_http::{ConnectionType, HttpService, KeepAlive};
use actix_server::Server;
use actix_service::{IntoServiceFactory, Service, ServiceFactory, fn_factory, map_config};
use actix_web::dev::AppConfig;
use actix_web::error::{InternalError, PathError};
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::{App, HttpResponse, guard, web};
use parking_lot::Mutex;
use waypost_click_counter::{Journals, Recorder};
use waypost_redirector::{Seed, Worker};
use waypost_runtime::{Supervision, supervise};
use waypost_telemetry::Metrics;

use super::access_log::AccessLog;
use super::account::Connection;
use super::front::Front;
use super::metrics::WorkerMetrics;
use super::problem::Problem;
use super::state::{NodeState, WorkerState};
use super::traced::{self, Traced};
use super::{backup, health, keys, links, live, redirect, request_id, shorten, stats};
use crate::config::VisitorRules;

/// What the public listener is made of.
#[derive(Clone)]
pub struct PublicServer {
    /// The node.
    pub node: Arc<NodeState>,
    /// Where workers leave visits.
    pub journals: Journals,
    /// Made before, so that a disk without room for them is noticed at the start; one for each worker.
    pub recorders: Arc<Mutex<Vec<Recorder>>>,
    /// One of so many requests is logged; 0 = none.
    pub access_every: u32,
    /// One of so many requests is traced; 0 = none.
    pub trace_every: u32,
    /// Whose visits are recorded, and how.
    pub visitors: VisitorRules,
    /// For the metrics of workers.
    pub metrics: Metrics,
    /// For the Redirectors of workers.
    pub supervision: Supervision,
    /// Whether this node answers redirects.
    pub redirects: bool,
    /// How long the answer of another node is given without asking again.
    pub keep: Duration,
    /// Threads that answer requests.
    pub workers: usize,
    /// Connections that may be open on one worker.
    pub connections_max: usize,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
    /// How long a client may take to send its request's head, and then its body.
    pub client_timeout: Duration,
}

/// Starts the public listener. It runs until its handle stops it.
///
/// # Errors
/// When the listener cannot be used.
pub fn public_server(listener: TcpListener, parts: PublicServer) -> std::io::Result<Server> {
    let workers = parts.workers;
    let connections_max = parts.connections_max;
    let server = Server::build()
        .workers(workers)
        .max_concurrent_connections(connections_max)
        .disable_signals()
        .listen("http", listener, move || {
            let parts = parts.clone();
            let mut service = HttpService::build()
                .keep_alive(KeepAlive::Timeout(parts.keep_alive))
                .client_request_timeout(parts.client_timeout);
            if parts.node.access.looks_at_accounts() {
                service = service.on_connect_ext(|_, data| {
                    data.insert(Connection::default());
                });
            }
            service
                .h1(fn_factory(move || {
                    let parts = parts.clone();
                    async move {
                        let worker = web::Data::new(worker(&parts).await?);
                        let app = map_config(app(worker.clone(), parts.client_timeout), |_: ()| AppConfig::default());
                        let app = app.into_factory().new_service(()).await?;
                        Ok::<_, ()>(Front { worker, app: Rc::new(app) })
                    }
                }))
                .tcp()
        })?;
    Ok(server.run())
}

/// What a worker has of its own; made on the worker's thread, where its Redirector then lives.
async fn worker(parts: &PublicServer) -> Result<WorkerState, ()> {
    let node = parts.node.clone();
    let seed = Seed { view: node.view.clone(), links: node.links.clone(), shards: node.shards, keep: parts.keep };
    let arbiter = actix::Arbiter::current();
    let redirector = supervise(
        waypost_redirector::spec(),
        &parts.supervision,
        &arbiter,
        move || Worker::new(seed.clone()),
        waypost_redirector::routes,
    )
    .await;
    let recorder = match parts.recorders.lock().pop() {
        Some(recorder) => recorder,
        // actix has started a worker anew.
        None => parts.journals.recorder().map_err(|error| tracing::error!(%error, "a worker has no click journal"))?,
    };
    Ok(WorkerState {
        redirects: parts.redirects,
        node,
        redirector,
        recorder,
        visitors: parts.visitors.clone(),
        metrics: WorkerMetrics::new(&parts.metrics),
        access_log: AccessLog::new(parts.access_every),
        traced: Traced::new(parts.trace_every),
    })
}

/// `body_time` is how long the body of a request may take to arrive.
fn app(
    worker: web::Data<WorkerState>,
    body_time: Duration,
) -> App<
    impl ServiceFactory<
        actix_web::dev::ServiceRequest,
        Config = (),
        Response = actix_web::dev::ServiceResponse,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    let node = worker.node.clone();
    let counted = node.clone();
    let body_max = node.body_max_bytes;
    let whole = body_time + node.timeout;
    let noted = worker.clone();
    let head_or_get = || guard::Any(guard::Get()).or(guard::Head());
    App::new()
        .app_data(web::Data::from(node))
        .app_data(worker)
        .app_data(web::PayloadConfig::new(body_max))
        .app_data(web::PathConfig::default().error_handler(|error: PathError, _| {
            InternalError::from_response(error, Problem::unknown_link().response()).into()
        }))
        .app_data(web::QueryConfig::default().error_handler(|error, _| {
            InternalError::from_response("the query cannot be used", Problem::malformed(error.to_string()).response())
                .into()
        }))
        .wrap_fn(move |request, service| {
            let started = Instant::now();
            let (noted, open) = (noted.clone(), OpenRequest::begin(counted.clone()));
            let origin = request_id::origin(request.headers());
            let id = request_id::header(&origin);
            let (mut span, origin) = noted.traced.begin(&request, origin);
            let answer = service.call(request);
            origin.scope(async move {
                let refused = match tokio::time::timeout(whole, answer).await {
                    Ok(Ok(response)) => Ok(response),
                    Ok(Err(error)) => Err(problem_of(&error, body_max)),
                    // The handlers end by themselves within their share: it was the body that did not come.
                    Err(_) => {
                        let mut response = Problem::body_timeout().response();
                        response.head_mut().set_connection_type(ConnectionType::Close);
                        Err(response)
                    }
                };
                let mut response = match refused {
                    Ok(response) => response,
                    Err(mut response) => {
                        traced::answered(&mut span, "", None, response.status().as_u16());
                        response.headers_mut().insert(request_id::REQUEST_ID, id);
                        return Err(InternalError::from_response("the request was refused", response).into());
                    }
                };
                let asked = response.request();
                let route = asked.match_pattern();
                noted.metrics.request(route.as_deref(), response.status(), started);
                traced::answered(&mut span, asked.method().as_str(), route.as_deref(), response.status().as_u16());
                noted.access_log.note(
                    asked.method().as_str(),
                    asked.path(),
                    response.status().as_u16(),
                    asked.peer_addr(),
                );
                if open.node.draining() {
                    response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
                }
                // A redirect is the same in front of the `App`, where nothing is added to it.
                if !response.status().is_redirection() {
                    response.headers_mut().insert(request_id::REQUEST_ID, id);
                }
                Ok(response)
            })
        })
        .service(route("/shorten", "POST").route(web::post().to(shorten::shorten)))
        .service(route("/generate-key", "GET").route(web::get().to(keys::generate)))
        .service(route("/analytics/{code}", "GET").route(web::get().to(links::analytics)))
        .service(
            route("/api/v1/links/{code}/stats", "GET, DELETE")
                .route(web::get().to(stats::of_link))
                .route(web::delete().to(stats::reset)),
        )
        .service(route("/api/v1/links/{code}/stats/live", "GET").route(web::get().to(live::live_of_link)))
        .service(route("/api/v1/stats", "GET").route(web::get().to(stats::of_all)))
        .service(route("/api/v1/stats/live", "GET").route(web::get().to(live::live_of_all)))
        .service(route("/api/v1/stats/orphans", "GET").route(web::get().to(stats::orphans)))
        .service(
            route("/api/v1/links/{code}", "GET, PATCH, DELETE")
                .route(web::get().to(links::get))
                .route(web::patch().to(links::patch))
                .route(web::delete().to(links::delete)),
        )
        .service(web::resource(["/metrics", "/cluster/{rest:.*}"]).to(redirect::of_the_admin_listener))
        .service(route("/api/v1/backup", "GET").route(web::get().to(backup::backup)))
        .service(route("/health/live", "GET, HEAD").route(web::route().guard(head_or_get()).to(health::live)))
        .service(route("/health/ready", "GET, HEAD").route(web::route().guard(head_or_get()).to(health::ready)))
        .service(route("/", "GET, HEAD").route(web::route().guard(head_or_get()).to(redirect::base)))
        .service(route("/{code}", "GET, HEAD").route(web::route().guard(head_or_get()).to(redirect::visit)))
        .default_service(web::to(|| async { Problem::not_found().response() }))
}

/// Counts a request while it is being answered, however that ends.
struct OpenRequest {
    node: Arc<NodeState>,
}

impl OpenRequest {
    fn begin(node: Arc<NodeState>) -> Self {
        node.open_requests.fetch_add(1, Ordering::SeqCst);
        Self { node }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.node.open_requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A path that answers other methods than its own with a problem document.
fn route(path: &str, allow: &'static str) -> actix_web::Resource {
    web::resource(path).default_service(web::to(move || async move {
        let mut response = Problem::method_not_allowed(allow).response();
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        response
    }))
}

/// Errors that actix-web makes itself (a body that is too long, a broken upload) as problem documents.
fn problem_of(error: &actix_web::Error, body_max: usize) -> HttpResponse {
    if error.as_error::<Problem>().is_some() {
        return error.error_response();
    }
    match error.as_response_error().status_code().as_u16() {
        413 => Problem::too_large(body_max).response(),
        400..=499 => Problem::malformed(error.to_string()).response(),
        _ => error.error_response(),
    }
}
