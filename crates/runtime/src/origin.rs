//! The origin of work: the id and the trace of an outside request go with every message, also to other nodes, so that all
//! log lines about the request can be found.

use std::future::Future;

use serde::{Deserialize, Serialize};
use tracing::Instrument;
use waypost_telemetry::{Span, SpanKind};

/// The longest id or trace that is accepted, in bytes.
pub const ORIGIN_BYTES_MAX: usize = 64;

/// The outside request for which work is done. Empty texts: none, the work is the node's own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "WireOrigin", from = "WireOrigin")]
pub struct Origin {
    /// The id of the request.
    pub request: String,
    /// The id of its trace, 32 hexadecimal digits (W3C Trace Context), or empty.
    pub trace: String,
    /// The id of the present span; 0 = the request is not traced.
    pub span: u64,
}

/// On the wire the span follows the trace, with a dash between them: a node of a version without spans reads both as a trace.
#[derive(Serialize, Deserialize)]
struct WireOrigin {
    request: String,
    trace: String,
}

impl From<Origin> for WireOrigin {
    fn from(origin: Origin) -> Self {
        let Origin { request, mut trace, span } = origin;
        if span != 0 {
            trace = format!("{trace}-{span:016x}");
        }
        Self { request, trace }
    }
}

impl From<WireOrigin> for Origin {
    fn from(WireOrigin { request, mut trace }: WireOrigin) -> Self {
        let span = trace.split_once('-').and_then(|(_, span)| u64::from_str_radix(span, 16).ok()).unwrap_or(0);
        trace.truncate(trace.find('-').unwrap_or(trace.len()));
        Self { request, trace, span }
    }
}

tokio::task_local! {
    static ORIGIN: Origin;
}

impl Origin {
    /// The origin of the current task.
    pub fn current() -> Self {
        ORIGIN.try_with(Clone::clone).unwrap_or_default()
    }

    /// Runs a future for this request: its messages and log lines carry the origin.
    pub async fn scope<T>(self, future: impl Future<Output = T>) -> T {
        if self.request.is_empty() {
            return future.await;
        }
        // At the highest level, so that even a quiet log names the requests of its errors; the span itself is not logged.
        let span = match self.trace.is_empty() {
            true => tracing::error_span!("request", "http.request.id" = %self.request),
            false => tracing::error_span!("request", "http.request.id" = %self.request, "trace.id" = %self.trace),
        };
        ORIGIN.scope(self, future.instrument(span)).await
    }

    /// Begins a span for this request, if it is traced. Returns the span, and the origin for the work in it.
    #[must_use]
    pub(crate) fn part(self, kind: SpanKind, name: impl FnOnce() -> String) -> (Span, Self) {
        if self.span == 0 || !waypost_telemetry::traces_on() {
            return (Span::default(), self);
        }
        let span = Span::begin(kind, name(), &self.trace, self.span);
        let id = span.ids().map_or(0, |(_, id)| id);
        (span, Self { span: id, ..self })
    }

    /// Cuts the texts to their largest length, because another node may send anything.
    #[must_use]
    pub(crate) fn sound(self) -> Self {
        let sound =
            |text: String| match text.len() <= ORIGIN_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic()) {
                true => text,
                false => String::new(),
            };
        Self { request: sound(self.request), trace: sound(self.trace), span: self.span }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(origin: &Origin) -> Origin {
        postcard::from_bytes::<Origin>(&postcard::to_stdvec(origin).unwrap()).unwrap().sound()
    }

    #[test]
    fn an_origin_arrives_as_it_was_sent() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736".to_owned();
        for (trace, span) in [(String::new(), 0), (trace.clone(), 0), (trace, 0x00f0_67aa_0ba9_02b7)] {
            let origin = Origin { request: "a-1".to_owned(), trace, span };
            assert_eq!(sent(&origin), origin);
        }
    }

    #[test]
    fn what_is_no_id_is_left_out() {
        let hostile = |text: &str| Origin { request: text.to_owned(), trace: text.to_owned(), span: 0 };
        for text in ["a b", "\n", &"x".repeat(ORIGIN_BYTES_MAX + 1)] {
            assert_eq!(sent(&hostile(text)), Origin::default(), "{text:?}");
        }
        assert_eq!(sent(&hostile("x-y-z")).trace, "x");
    }
}
