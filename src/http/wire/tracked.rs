//! The service that tells a connection what its requests are doing: one is in the `App`, its body is read, its answer is still coming.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_http::body::{BodySize, BoxBody, MessageBody};
use actix_http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use actix_http::{HttpMessage as _, Payload, Request, Response};
use actix_service::Service;
use bytes::Bytes;
use futures_util::Stream;
use futures_util::future::LocalBoxFuture;

use super::conn::{Busy, Conn};
use super::framing::Rest;

/// A body of at most so many bytes is written whole as soon as it is there.
const AT_ONCE_BYTES: u64 = 16 * 1024;

/// The `App` of one worker, for connections that are guarded.
pub(in crate::http) struct Tracked<S> {
    app: Rc<S>,
}

impl<S> Tracked<S> {
    /// Tells the connections of what this service does.
    pub(in crate::http) fn new(app: S) -> Self {
        Self { app: Rc::new(app) }
    }
}

/// What is to come of a request after its head.
fn body_of(headers: &HeaderMap) -> Rest {
    if headers.contains_key(TRANSFER_ENCODING) {
        return Rest::chunked();
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.trim().parse().ok());
    length.filter(|length| *length > 0).map_or(Rest::None, Rest::Length)
}

impl<S> Service<Request> for Tracked<S>
where
    S: Service<Request, Error = actix_web::Error> + 'static,
    S::Response: Into<Response<BoxBody>>,
    S::Future: 'static,
{
    type Response = Response<BoxBody>;
    type Error = actix_web::Error;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.app.poll_ready(cx)
    }

    fn call(&self, mut request: Request) -> Self::Future {
        let busy = request.conn_data::<Rc<Conn>>().map(|conn| {
            let conn = conn.clone();
            let rest = body_of(request.headers());
            let busy = Busy::begin(&conn, rest);
            (busy, rest.is_open().then_some(conn))
        });
        let busy = busy.map(|(busy, body)| {
            if let Some(conn) = body {
                let payload = std::mem::replace(request.payload(), Payload::None);
                *request.payload() = Payload::Stream { payload: Box::pin(Wanted { payload, conn }) };
            }
            busy
        });
        let answer = self.app.call(request);
        Box::pin(async move {
            let response: Response<BoxBody> = answer.await?.into();
            // A body that is not written whole at once keeps its connection busy.
            let stays = match response.body().size() {
                BodySize::None => false,
                BodySize::Sized(bytes) => bytes > AT_ONCE_BYTES,
                BodySize::Stream => true,
            };
            Ok(match busy {
                Some(busy) if stays => response.map_body(|_, body| BoxBody::new(Answering { body, _busy: busy })),
                _ => response,
            })
        })
    }
}

/// A body of a request. As long as nobody reads it, it stays with the client.
struct Wanted {
    payload: Payload,
    conn: Rc<Conn>,
}

impl Stream for Wanted {
    type Item = <Payload as Stream>::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        this.conn.want_body();
        let next = Pin::new(&mut this.payload).poll_next(cx);
        this.conn.asked_for_body(next.is_ready());
        next
    }
}

/// The body of an answer.
struct Answering {
    body: BoxBody,
    _busy: Busy,
}

impl MessageBody for Answering {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let next = Pin::new(&mut self.get_mut().body).poll_next(cx);
        if let Poll::Ready(Some(Err(error))) = &next {
            tracing::warn!(%error, "an answer ended early");
        }
        next
    }
}
