//! The public listener: the front service, and behind it the actix-web `App`.

use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_http::ConnectionType;
use actix_server::Server;
use actix_service::{IntoServiceFactory, Service, ServiceFactory, map_config};
use actix_web::dev::AppConfig;
use actix_web::error::{InternalError, PathError, QueryPayloadError};
use actix_web::{App, web};
use parking_lot::Mutex;
use waypost_click_counter::{Journals, Recorder};
use waypost_redirector::{Here, ReadHere, RedirectorActor, Seed};
use waypost_runtime::{Supervision, supervise};
use waypost_telemetry::Metrics;

use super::access_log::AccessLog;
use super::answer;
use super::dashboard::Listener;
use super::fast::FastRedirects;
use super::front::Front;
use super::metrics::WorkerMetrics;
use super::openapi::Documents;
use super::problem::Problem;
use super::state::{NodeState, WorkerState};
use super::traced::{self, Traced};
use super::wire::{self, ConnectionLimits, Served, Tracked};
use super::{redirect, request_id, routes, ui};
use crate::config::VisitorRules;

/// The parts of the public listener.
#[derive(Clone)]
pub struct PublicServer {
    /// The node.
    pub node: Arc<NodeState>,
    /// The journals in which workers record visits.
    pub journals: Journals,
    /// Created before, so that a lack of disk space is noticed at the start; one for each worker.
    pub recorders: Arc<Mutex<Vec<Recorder>>>,
    /// One in this many requests is logged; 0 = none.
    pub access_every: u32,
    /// One in this many requests is traced; 0 = none.
    pub trace_every: u32,
    /// Which visits are recorded, and how.
    pub visitors: VisitorRules,
    /// For the metrics of workers.
    pub metrics: Metrics,
    /// For the Redirectors of workers.
    pub supervision: Supervision,
    /// Whether this node answers redirects.
    pub redirects: bool,
    /// What each worker's Redirector is made of.
    pub redirector: Seed,
    /// Reads links of this node's replicas.
    pub read_here: ReadHere,
    /// The number of threads that answer requests.
    pub workers: usize,
    /// The limits of connections.
    pub limits: ConnectionLimits,
}

/// Starts the public listener. It runs until its handle stops it.
///
/// # Errors
/// When the listener cannot be used.
pub fn public_server(listener: TcpListener, parts: PublicServer) -> std::io::Result<Server> {
    let (workers, limits, metrics) = (parts.workers, parts.limits.clone(), parts.metrics.clone());
    let documents = Documents::new();
    wire::serve("public", "http-worker", listener, workers, limits, &metrics, move || {
        let (parts, documents) = (parts.clone(), documents.clone());
        async move {
            let worker = web::Data::new(worker(&parts).await?);
            let app = app(worker.clone(), documents, parts.limits.request);
            let app = map_config(app, |_: ()| AppConfig::default());
            let app = app.into_factory().new_service(()).await?;
            let service = Rc::new(Front { worker, app: Tracked::new(app) });
            Ok(Served { fast: FastRedirects::new(service.clone()), service })
        }
    })
}

/// The state of a worker; created on the worker's thread, where its Redirector then lives.
async fn worker(parts: &PublicServer) -> Result<WorkerState, ()> {
    let node = parts.node.clone();
    let seed = parts.redirector.clone();
    let arbiter = actix::Arbiter::current();
    let redirector =
        supervise(waypost_redirector::spec(), &parts.supervision, &arbiter, move || RedirectorActor::new(seed.clone()))
            .await;
    let recorder = match parts.recorders.lock().pop() {
        Some(recorder) => recorder,
        // actix has restarted a worker.
        None => parts.journals.recorder().map_err(|error| tracing::error!(%error, "a worker has no click journal"))?,
    };
    let dashboard = node.dashboard.as_ref().map(|dashboard| dashboard.path());
    Ok(WorkerState {
        metrics: WorkerMetrics::new(&parts.metrics, dashboard),
        redirects: parts.redirects,
        here: Here::new(node.view.clone(), node.shards, parts.read_here.clone()),
        node,
        redirector,
        recorder,
        visitors: parts.visitors.clone(),
        access_log: AccessLog::new(parts.access_every),
        traced: Traced::new(parts.trace_every),
    })
}

/// The path of a request in the access log. Of a one-time link it is the pattern: the link signs in whoever has it.
fn logged_path<'a>(path: &'a str, route: Option<&'a str>) -> &'a str {
    route.filter(|route| route.ends_with("/sign-in/{secret}")).unwrap_or(path)
}

/// `body_time` is how long the body of a request may take to arrive.
fn app(
    worker: web::Data<WorkerState>,
    documents: Documents,
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
    let (dashboard, lifecycle) = (node.clone(), node.lifecycle.clone());
    let body_max = node.body_max_bytes;
    let whole = body_time + node.timeout;
    let noted = worker.clone();
    App::new()
        .app_data(web::Data::from(node))
        .app_data(worker)
        .app_data(web::Data::new(documents))
        .app_data(web::PayloadConfig::new(body_max))
        .app_data(web::PathConfig::default().error_handler(|error: PathError, _| {
            InternalError::from_response(error, Problem::unknown_link().response()).into()
        }))
        .app_data(web::QueryConfig::default().error_handler(|error, _| {
            // The error's own words name a Rust library.
            let detail = match &error {
                QueryPayloadError::Deserialize(why) => format!("the query cannot be used: {why}"),
                other => format!("the query cannot be used: {other}"),
            };
            InternalError::from_response("the query cannot be used", Problem::malformed(detail).response()).into()
        }))
        .wrap_fn(move |request, service| {
            let started = Instant::now();
            let (noted, open) = (noted.clone(), lifecycle.begin_request());
            let origin = request_id::origin(request.headers());
            let id = request_id::header(&origin);
            let (mut span, origin) = noted.traced.begin(&request, origin);
            let answer = service.call(request);
            origin.scope(async move {
                let refused = match tokio::time::timeout(whole, answer).await {
                    Ok(Ok(response)) => Ok(answer::uniform(response, body_max)),
                    Ok(Err(error)) => Err(answer::problem_of(&error, body_max)),
                    // The handlers end by themselves in time, so the body did not arrive.
                    Err(_) => Err(answer::body_timeout()),
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
                    logged_path(asked.path(), route.as_deref()),
                    response.status().as_u16(),
                    asked.peer_addr(),
                );
                if open.closes_connection() {
                    response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
                }
                // The front service adds nothing to a redirect either.
                if !response.status().is_redirection() {
                    response.headers_mut().insert(request_id::REQUEST_ID, id);
                }
                Ok(response)
            })
        })
        .configure(|config| ui::register(config, &dashboard, Listener::Public))
        .configure(routes::register)
        .default_service(web::to(redirect::elsewhere))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_access_log_does_not_tell_one_time_links() {
        assert_eq!(logged_path("/ui/sign-in/abc", Some("/ui/sign-in/{secret}")), "/ui/sign-in/{secret}");
        assert_eq!(logged_path("/abc", Some("/{code}")), "/abc");
        assert_eq!(logged_path("/nothing", None), "/nothing");
    }
}
