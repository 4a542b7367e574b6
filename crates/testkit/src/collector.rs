//! A collector of traces: accepts spans over OTLP, and keeps them for a test to look at.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use prost::Message;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The longest body that is accepted.
const BODY_MAX: usize = 16 << 20;

/// A span as it arrived. Ids are hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenSpan {
    /// The trace that it belongs to.
    pub trace: String,
    /// Its own id.
    pub id: String,
    /// The span that it is part of, or an empty text.
    pub parent: String,
    /// What was done.
    pub name: String,
    /// `service.instance.id`: the node.
    pub node: String,
    /// Whether it ended after it began.
    pub takes_time: bool,
}

/// A collector on a free port of the loopback address. It stops with the runtime.
pub struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<SeenSpan>>>,
}

impl Collector {
    /// Starts the collector.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let spans: Arc<Mutex<Vec<SeenSpan>>> = Arc::default();
        let kept = spans.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = kept.clone();
                tokio::spawn(async move { while_open(stream, &kept).await });
            }
        });
        Ok(Self { address, spans })
    }

    /// The value for `[traces] endpoint`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All spans that have arrived.
    pub fn spans(&self) -> Vec<SeenSpan> {
        self.spans.lock().expect("invariant: nobody panics with it").clone()
    }
}

async fn while_open(stream: TcpStream, kept: &Mutex<Vec<SeenSpan>>) -> Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if stream.read_line(&mut first).await? == 0 {
            return Ok(());
        }
        let mut length = 0;
        loop {
            let mut header = String::new();
            stream.read_line(&mut header).await?;
            if header.trim().is_empty() {
                break;
            }
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        anyhow::ensure!(first.starts_with("POST /v1/traces ") && length <= BODY_MAX, "not for a collector: {first}");
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let seen = spans_of(&body).context("no spans")?;
        kept.lock().expect("invariant: nobody panics with it").extend(seen);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n")
            .await?;
    }
}

fn spans_of(body: &[u8]) -> Result<Vec<SeenSpan>> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let node_of = |attributes: &[KeyValue]| {
        let found = attributes.iter().find(|pair| pair.key == "service.instance.id")?;
        match found.value.as_ref()?.value.as_ref()? {
            Value::StringValue(text) => Some(text.clone()),
            _ => None,
        }
    };
    let mut seen = Vec::new();
    for resource in ExportTraceServiceRequest::decode(body)?.resource_spans {
        let node = resource.resource.as_ref().and_then(|resource| node_of(&resource.attributes)).unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            seen.push(SeenSpan {
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                takes_time: span.end_time_unix_nano >= span.start_time_unix_nano && span.start_time_unix_nano > 0,
                name: span.name,
                node: node.clone(),
            });
        }
    }
    Ok(seen)
}
