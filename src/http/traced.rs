//! Selects the requests that are traced, and makes their spans. A redirect that the front service answers is never traced: that would
//! take longer than the redirect.

use actix_web::dev::ServiceRequest;
use waypost_runtime::Origin;
use waypost_telemetry::{Span, SpanKind};

use super::access_log::OneOf;
use super::request_id::{self, Parent};

/// Selects the traced requests of one worker.
pub struct Traced {
    one_of: OneOf,
}

impl Traced {
    /// Traces one in `every` requests; 0 = none.
    pub fn new(every: u32) -> Self {
        Self { one_of: OneOf::new(every) }
    }

    /// Begins the span of a request, if it is selected. Returns it with the origin of the work in it. The caller's own decision
    /// whether to trace is ignored, because anybody can send it.
    pub(super) fn begin(&self, request: &ServiceRequest, origin: Origin) -> (Span, Origin) {
        if !waypost_telemetry::traces_on() || !self.one_of.takes() {
            return (Span::default(), origin);
        }
        let Parent { trace, span } = request_id::caller(request.headers()).unwrap_or(Parent { trace: "", span: 0 });
        let method = known(request.method().as_str());
        let mut span = Span::begin(SpanKind::Server, method, trace, span);
        span.note("http.request.method", method);
        span.note("http.request.id", origin.request.clone());
        match span.ids() {
            Some((trace, id)) => (span, Origin { trace, span: id, ..origin }),
            None => (span, origin),
        }
    }
}

/// The method, or a placeholder for unknown ones (OpenTelemetry's semantic conventions).
fn known(method: &str) -> &'static str {
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    methods.into_iter().find(|known| *known == method).unwrap_or("_OTHER")
}

/// Records the answer of a request.
pub(super) fn answered(span: &mut Span, method: &str, route: Option<&str>, status: u16) {
    if let Some(route) = route {
        span.rename(format!("{} {route}", known(method)));
        span.note("http.route", route.to_owned());
    }
    span.note("http.response.status_code", i64::from(status));
    if status >= 500 {
        span.fail(format!("answered {status}"));
    }
}
