//! The HTTP client of the commands that talk to a running server.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use url::Url;

use super::key::{Key, KeyArgs};
use super::{exit, reach};
use crate::complain;
use crate::http::is_loopback;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a whole download may take: a day is more than any needs.
const DOWNLOAD_MAX: Duration = Duration::from_secs(24 * 3600);

/// The options for the server and its key.
#[derive(Debug, Clone, Args)]
pub(super) struct ServerArgs {
    /// Address of the server. Default: where `serve` would listen with the same variables, or
    /// http://127.0.0.1:8080
    #[arg(long, value_name = "URL", env = "WAYPOST_SERVER")]
    pub(super) server: Option<String>,
    #[command(flatten)]
    pub(super) key: KeyArgs,
}

/// Why a command fails, with its exit code.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) code: u8,
    pub(super) message: String,
}

impl Failed {
    pub(super) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// An answer of the server.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Value,
    /// Seconds after which the server may be asked again.
    pub(super) retry_after: Option<u64>,
    /// The version of the link in it.
    pub(super) etag: Option<String>,
}

impl Answer {
    /// The error in the server's words.
    pub(super) fn problem(&self) -> String {
        match self.body.get("detail").and_then(Value::as_str) {
            Some(detail) => detail.to_owned(),
            None => format!("the server answered {}", self.status),
        }
    }

    /// The failure of a command that the server has refused.
    pub(super) fn refused(&self) -> Failed {
        let code = match self.status {
            StatusCode::NOT_FOUND => exit::NOT_FOUND,
            StatusCode::PRECONDITION_FAILED => exit::CHANGED,
            _ => exit::FAILURE,
        };
        Failed::new(code, in_options(&self.problem()))
    }

    pub(super) fn text(&self, field: &str) -> String {
        self.body.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

/// The fields of the API that commands have as options.
const FIELDS: [(&str, &str); 9] = [
    ("customSlug", "--slug"),
    ("validSince", "--valid-since"),
    ("validUntil", "--valid-until"),
    ("maxVisits", "--max-visits"),
    ("redirectStatus", "--redirect-status"),
    ("expiredUrl", "--expired-url"),
    ("forwardQuery", "--forward-query"),
    ("forwardPath", "--forward-path"),
    ("findIfExists", "--find-existing"),
];

/// A message of the server in the words of the command line.
fn in_options(message: &str) -> String {
    // What stands in quotes is somebody's own text.
    let parts = message.split('"').enumerate().map(|(at, part)| match at % 2 {
        0 => FIELDS.iter().fold(part.to_owned(), |part, (field, option)| part.replace(field, option)),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("\"")
}

/// A server to talk to.
#[derive(Debug, Clone)]
pub(super) struct Server {
    client: reqwest::Client,
    base: String,
    key: Key,
}

impl Server {
    pub(super) fn new(args: &ServerArgs) -> Result<Self, Failed> {
        Self::at(reach::public(args.server.as_deref())?, &args.key)
    }

    /// The server at a URL without a slash at its end.
    pub(super) fn at(base: String, key: &KeyArgs) -> Result<Self, Failed> {
        let url = Url::parse(&base).map_err(|error| Failed::new(exit::USAGE, format!("{base}: {error}")))?;
        let mut headers = HeaderMap::new();
        let (value, key) = key.find(&url)?;
        if let Some(value) = value {
            headers.insert("x-api-key", value);
        }
        let mut client = reqwest::Client::builder()
            .default_headers(headers)
            .timeout(TIMEOUT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none());
        if url.scheme() == "http" {
            // The machine's certificates are not needed.
            client = client.tls_certs_only([]);
        }
        if let Some(name) = url.host_str().filter(|_| is_loopback(&url)) {
            // A key for this machine must stay on this machine, whatever a resolver says about the name. Port 0 = the port of the URL.
            let loopback =
                [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()].map(|ip: IpAddr| SocketAddr::new(ip, 0));
            client = client.resolve_to_addrs(name, &loopback);
        }
        let client = client.build().map_err(|error| Failed::new(exit::FAILURE, error.to_string()))?;
        Ok(Self { client, base, key })
    }

    /// Sends a request once.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        idempotency_key: Option<&str>,
    ) -> Result<Answer, Failed> {
        let headers: Vec<_> = idempotency_key.map(|key| ("idempotency-key", key.to_owned())).into_iter().collect();
        self.send_with(method, path, body, &headers).await
    }

    /// Sends a request once, with headers of its own.
    pub(super) async fn send_with(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&'static str, String)],
    ) -> Result<Answer, Failed> {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(body) = body {
            request = request.json(body);
        }
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        self.answer(response).await
    }

    /// Requests an answer that may be long.
    pub(super) async fn download(&self, path: &str) -> Result<Download, Failed> {
        self.begin(self.client.get(format!("{}{path}", self.base))).await
    }

    /// Sends a request whose answer comes line by line, each of them JSON, while the server works.
    pub(super) async fn lines(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Lines, Failed> {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        request = request.header("accept", "application/x-ndjson");
        if let Some(body) = body {
            request = request.json(body);
        }
        Ok(Lines { download: self.begin(request).await?, buffer: Vec::new() })
    }

    async fn begin(&self, request: reqwest::RequestBuilder) -> Result<Download, Failed> {
        let response = request.timeout(DOWNLOAD_MAX).send().await.map_err(|error| self.unreachable(error))?;
        if response.status() != StatusCode::OK {
            return Err(self.answer(response).await?.refused());
        }
        Ok(Download { response })
    }

    async fn answer(&self, response: reqwest::Response) -> Result<Answer, Failed> {
        let status = response.status();
        let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let header = |name| response.headers().get(name).and_then(|value| Some(value.to_str().ok()?.to_owned()));
        let (location, etag) = (header("location"), header("etag"));
        let bytes = response.bytes().await.map_err(|error| self.unreachable(error))?;
        let mut body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if status.is_redirection() {
            let there = location.map(|there| format!(" to {there}")).unwrap_or_default();
            return Err(Failed::new(
                exit::USAGE,
                format!("{} redirects this command{there}; give the address that it leads to", self.base),
            ));
        }
        let kind = body["type"].as_str().and_then(|kind| kind.rsplit(':').next()).unwrap_or_default();
        match (status, kind) {
            (StatusCode::UNAUTHORIZED, _) => {
                body = json!({ "detail": self.key.refused(&self.base, &body) });
            }
            (StatusCode::NOT_FOUND, "wrong-listener") => {
                let detail = body["detail"].as_str().unwrap_or_default();
                return Err(Failed::new(exit::USAGE, format!("{}: {detail}", self.base)));
            }
            // For a path of the other listener, a waypost answers that there is no such link, or no such node.
            (StatusCode::NOT_FOUND, "" | "not-found") => {
                return Err(Failed::new(
                    exit::USAGE,
                    format!(
                        "{} does not have what this command asks for: --server has to be the public listener of a node, and --admin its \
                         admin listener",
                        self.base
                    ),
                ));
            }
            _ => {}
        }
        Ok(Answer { status, body, retry_after, etag })
    }

    fn unreachable(&self, error: reqwest::Error) -> Failed {
        let why = if error.is_timeout() { "it does not answer in time".to_owned() } else { cause(&error) };
        if !error.is_connect() && !error.is_timeout() {
            return Failed::new(
                exit::UNREACHABLE,
                format!(
                    "{} does not answer as an HTTP server does: {why}. Is it the peer port of a node? Commands ask the public listener (--server), \
                     and `waypost cluster` the admin listener (--admin)",
                    self.base
                ),
            );
        }
        if self.base.starts_with("https:") && why.contains("InvalidContentType") {
            return Failed::new(
                exit::UNREACHABLE,
                format!("{} answers, but not with TLS; without it the address begins with http://", self.base),
            );
        }
        if why.contains("invalid peer certificate") {
            return Failed::new(
                exit::UNREACHABLE,
                format!(
                    "{} is not trusted: {why}. The authorities are those of this machine; SSL_CERT_FILE can name a file with others",
                    self.base
                ),
            );
        }
        Failed::new(exit::UNREACHABLE, format!("cannot reach {}: {why}. Is `waypost serve` running there?", self.base))
    }
}

/// A body that is read in pieces, however long that takes.
pub(super) struct Download {
    response: reqwest::Response,
}

impl Download {
    /// The next bytes; `None` at the end. Fails if nothing arrives for `silence`.
    pub(super) async fn next(&mut self, silence: Duration) -> Result<Option<bytes::Bytes>, Failed> {
        let broken = |why: String| Failed::new(exit::FAILURE, format!("the answer ended early: {why}"));
        let piece = tokio::time::timeout(silence, self.response.chunk()).await;
        piece.map_err(|_| broken("no data arrived for too long".to_owned()))?.map_err(|error| broken(cause(&error)))
    }
}

/// Lines of JSON, as they come.
pub(super) struct Lines {
    download: Download,
    buffer: Vec<u8>,
}

impl Lines {
    /// The next line; `None` at the end. Fails if nothing arrives for `silence`, or a line has more than `max` bytes.
    pub(super) async fn next(&mut self, silence: Duration, max: usize) -> Result<Option<Value>, Failed> {
        let wrong = |why: &str| Failed::new(exit::FAILURE, format!("the answer cannot be read: {why}"));
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer) {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return serde_json::from_slice(&line).map(Some).map_err(|error| wrong(&error.to_string()));
            }
            if self.buffer.len() > max {
                return Err(wrong("a line is too long"));
            }
            match self.download.next(silence).await? {
                Some(piece) => self.buffer.extend_from_slice(&piece),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(wrong("it ends within a line")),
            }
        }
    }
}

/// The innermost cause of an error, which is the most helpful one.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// Runs a command and returns its exit code.
pub(super) fn block_on(command: impl Future<Output = Result<u8, Failed>>) -> u8 {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain!("waypost: {error}");
            return exit::FAILURE;
        }
    };
    ended(runtime.block_on(command))
}

/// The exit code of a command; says why it has failed.
pub(super) fn ended(result: Result<u8, Failed>) -> u8 {
    match result {
        Ok(code) => code,
        Err(failed) => {
            complain!("waypost: {}", failed.message);
            failed.code
        }
    }
}
