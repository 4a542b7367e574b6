//! The HTTP client of the commands that talk to a running server.

use std::time::Duration;

use clap::Args;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::exit;
use crate::complain;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a download may take as a whole: a day is more than any needs.
const DOWNLOAD_MAX: Duration = Duration::from_secs(24 * 3600);

/// Where the server is, and the key for it.
#[derive(Debug, Clone, Args)]
pub(super) struct ServerArgs {
    /// Address of the server
    #[arg(long, value_name = "URL", env = "WAYPOST_SERVER", default_value = "http://127.0.0.1:8080")]
    pub(super) server: String,
    /// API key, if the server asks for one
    #[arg(long, value_name = "KEY", env = "WAYPOST_API_KEY", hide_env_values = true)]
    pub(super) api_key: Option<String>,
    /// A file with the API key
    #[arg(long, value_name = "FILE", env = "WAYPOST_API_KEY_FILE", conflicts_with = "api_key")]
    pub(super) api_key_file: Option<std::path::PathBuf>,
}

/// Why a command ends, with its exit code.
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
    /// Seconds that the server asks to wait.
    pub(super) retry_after: Option<u64>,
}

impl Answer {
    /// What the server says is wrong.
    pub(super) fn problem(&self) -> String {
        match self.body.get("detail").and_then(Value::as_str) {
            Some(detail) => detail.to_owned(),
            None => format!("the server answered {}", self.status),
        }
    }

    pub(super) fn text(&self, field: &str) -> String {
        self.body.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

/// A server to talk to.
#[derive(Debug, Clone)]
pub(super) struct Server {
    client: reqwest::Client,
    base: String,
}

impl Server {
    pub(super) fn new(args: &ServerArgs) -> Result<Self, Failed> {
        let base = args.server.trim_end_matches('/').to_owned();
        if base.starts_with("https://") {
            return Err(Failed::new(
                exit::USAGE,
                "this program speaks plain http to the server; run it beside the server, or through a tunnel",
            ));
        }
        if !base.starts_with("http://") {
            return Err(Failed::new(exit::USAGE, format!("--server {base}: write it as http://host:port")));
        }
        let mut headers = HeaderMap::new();
        let key = match &args.api_key_file {
            Some(path) => Some(
                std::fs::read_to_string(path)
                    .map_err(|error| Failed::new(exit::USAGE, format!("{}: {error}", path.display())))?,
            ),
            None => args.api_key.clone(),
        };
        if let Some(key) = key {
            let mut value = HeaderValue::from_str(key.trim())
                .map_err(|_| Failed::new(exit::USAGE, "the API key has characters that no key has"))?;
            value.set_sensitive(true);
            headers.insert("x-api-key", value);
        }
        let client = reqwest::Client::builder()
            .default_headers(headers)
            .timeout(TIMEOUT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Failed::new(exit::FAILURE, error.to_string()))?;
        Ok(Self { client, base })
    }

    /// Sends a request once.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        idempotency_key: Option<&str>,
    ) -> Result<Answer, Failed> {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        self.answer(response).await
    }

    /// Asks for something that may be long.
    pub(super) async fn download(&self, path: &str) -> Result<Download, Failed> {
        let request = self.client.get(format!("{}{path}", self.base)).timeout(DOWNLOAD_MAX);
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        if response.status() != StatusCode::OK {
            return Err(Failed::new(exit::FAILURE, self.answer(response).await?.problem()));
        }
        Ok(Download { response })
    }

    async fn answer(&self, response: reqwest::Response) -> Result<Answer, Failed> {
        let status = response.status();
        let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let bytes = response.bytes().await.map_err(|error| self.unreachable(error))?;
        Ok(Answer { status, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null), retry_after })
    }

    fn unreachable(&self, error: reqwest::Error) -> Failed {
        let why = if error.is_timeout() { "it does not answer in time".to_owned() } else { cause(&error) };
        Failed::new(exit::UNREACHABLE, format!("cannot reach {}: {why}. Is `waypost serve` running there?", self.base))
    }
}

/// A body that is read piece by piece, however long that takes.
pub(super) struct Download {
    response: reqwest::Response,
}

impl Download {
    /// The next bytes; `None` at the end. `silence` is how long none may come.
    pub(super) async fn next(&mut self, silence: Duration) -> Result<Option<bytes::Bytes>, Failed> {
        let broken = |why: String| Failed::new(exit::FAILURE, format!("the answer broke off: {why}"));
        let piece = tokio::time::timeout(silence, self.response.chunk()).await;
        piece.map_err(|_| broken("nothing came for long".to_owned()))?.map_err(|error| broken(cause(&error)))
    }
}

/// The innermost cause, which is what helps.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// Runs a command to its exit code.
pub(super) fn block_on(command: impl Future<Output = Result<u8, Failed>>) -> u8 {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain!("waypost: {error}");
            return exit::FAILURE;
        }
    };
    match runtime.block_on(command) {
        Ok(code) => code,
        Err(failed) => {
            complain!("waypost: {}", failed.message);
            failed.code
        }
    }
}
