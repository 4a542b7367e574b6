//! A client that shows exactly what a server answers: it follows no redirects, does not retry, and can send raw bytes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

/// The user agent of the client: a browser, so that its visits count as those of a person.
pub const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0";

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; `null` if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// A text member of the JSON body.
    pub fn text(&self, member: &str) -> String {
        self.json()[member].as_str().unwrap_or_default().to_owned()
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The last part of the problem's type.
    pub fn problem(&self) -> String {
        self.text("type").rsplit(':').next().unwrap_or_default().to_owned()
    }
}

/// A client of one server.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    address: SocketAddr,
    key: Option<String>,
}

impl Client {
    /// A client of the server at `address`.
    pub fn new(address: SocketAddr) -> Self {
        // Nodes are asked over plain HTTP: no certificates are read. It is not an error if a provider is installed already.
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .tls_certs_only([])
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(BROWSER)
            .timeout(Duration::from_secs(30))
            .build()
            .expect("invariant: the client has no options that can fail");
        Self { http, address, key: None }
    }

    /// The same, with an API key in each request.
    #[must_use]
    pub fn with_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// Begins a request.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("http://{}{path}", self.address));
        match &self.key {
            None => request,
            Some(key) => request.header("x-api-key", key),
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// If no complete answer arrives.
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, body: response.bytes().await?.to_vec() })
    }

    /// `GET`.
    ///
    /// # Errors
    /// If no complete answer arrives.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(self.request(Method::GET, path)).await
    }

    /// `POST /shorten` with a JSON body.
    ///
    /// # Errors
    /// If no complete answer arrives: then the link may or may not exist.
    pub async fn shorten(&self, body: Value) -> Result<Answer> {
        self.send(self.request(Method::POST, "/shorten").json(&body)).await
    }

    /// Creates a link and returns its code.
    ///
    /// # Errors
    /// If the link is not created.
    pub async fn create(&self, url: &str) -> Result<String> {
        let answer = self.shorten(json!({ "longUrl": url })).await?;
        anyhow::ensure!(answer.status == 201, "{}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        Ok(answer.text("shortCode"))
    }

    /// The target of a code; `None` if it does not answer `302`.
    ///
    /// # Errors
    /// If no complete answer arrives.
    pub async fn follow(&self, code: &str) -> Result<Option<String>> {
        let answer = self.get(&format!("/{code}")).await?;
        Ok((answer.status == 302).then(|| answer.header("location").unwrap_or_default().to_owned()))
    }

    /// Sends raw bytes on a connection of its own. Returns everything that the server sends until it closes the connection or
    /// has been silent for a second.
    ///
    /// # Errors
    /// When there is no connection.
    pub fn raw(&self, bytes: &[u8]) -> Result<String> {
        let mut stream = TcpStream::connect(self.address).context("no connection")?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        // The server may answer and close the connection before it has read everything.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            answer.extend_from_slice(&buffer[..length]);
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}
