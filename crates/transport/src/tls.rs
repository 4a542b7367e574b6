//! TLS between nodes: both sides show a certificate of the cluster's own authority.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::Decode;

/// The name in the certificate of every node. The handshake, not the certificate, identifies a node.
const SERVER_NAME: &str = "waypost-peer";

/// The files, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate of the authority that signs all nodes' certificates.
    pub ca: PathBuf,
    /// This node's certificate, with the name `waypost-peer`.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not a PEM file of the right kind.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The files do not match each other.
    #[error("the certificates of [peer] tls_* do not match: {0}")]
    Unusable(String),
}

/// The dialing side.
#[derive(Clone)]
pub struct TlsClient {
    connector: TlsConnector,
    name: ServerName<'static>,
}

/// The listening side.
#[derive(Clone)]
pub struct TlsServer {
    acceptor: TlsAcceptor,
}

/// Makes ring the TLS provider of this process, as it is between nodes. Call this once, before any client is created.
pub fn install_tls() {
    // It is not an error if a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn unusable(error: impl ToString) -> TlsError {
    TlsError::Unusable(error.to_string())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |reason: String| TlsError::File { path: path.to_owned(), reason };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(|error| failed(error.to_string()))?
        .collect::<Result<_, _>>()
        .map_err(|error| failed(error.to_string()))?;
    if certificates.is_empty() {
        return Err(failed("it holds no certificate".to_owned()));
    }
    Ok(certificates)
}

impl TlsFiles {
    /// The earliest expiry of the certificates, in seconds since 1970.
    ///
    /// # Errors
    /// If a file cannot be read, or does not hold a certificate.
    pub fn expire(&self) -> Result<i64, TlsError> {
        let mut first = i64::MAX;
        for path in [&self.ca, &self.cert] {
            for certificate in certificates(path)? {
                let parsed = CertificateInner::<Raw>::from_der(&certificate)
                    .map_err(|error| TlsError::File { path: path.clone(), reason: error.to_string() })?;
                let end = parsed.tbs_certificate().validity().not_after.to_unix_duration();
                first = first.min(end.as_secs().try_into().unwrap_or(i64::MAX));
            }
        }
        Ok(first)
    }

    /// Loads both sides from the files.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn load(&self) -> Result<(TlsClient, TlsServer), TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.ca)? {
            roots.add(certificate).map_err(unusable)?;
        }
        let roots = Arc::new(roots);
        let chain = certificates(&self.cert)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| TlsError::File { path: self.key.clone(), reason: error.to_string() })?;
        let client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(unusable)?
            .with_root_certificates(roots.clone())
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(unusable)?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build().map_err(unusable)?;
        let server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(unusable)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(unusable)?;
        let name = ServerName::try_from(SERVER_NAME).map_err(unusable)?;
        Ok((
            TlsClient { connector: TlsConnector::from(Arc::new(client)), name },
            TlsServer { acceptor: TlsAcceptor::from(Arc::new(server)) },
        ))
    }
}

impl TlsClient {
    pub(crate) async fn connect(&self, stream: TcpStream) -> io::Result<client::TlsStream<TcpStream>> {
        self.connector.connect(self.name.clone(), stream).await
    }
}

impl TlsServer {
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<server::TlsStream<TcpStream>> {
        self.acceptor.accept(stream).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The certificate of an authority that ends in `year`, in PEM.
    fn ends_in(year: i32) -> String {
        let mut parameters = rcgen::CertificateParams::new(vec![SERVER_NAME.to_owned()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(year, 3, 1);
        parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
    }

    fn expire(ca: &str, cert: &str) -> Result<i64, TlsError> {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        TlsFiles { ca: write("ca", ca), cert: write("cert", cert), key: dir.path().join("key") }.expire()
    }

    #[test]
    fn the_earliest_end_of_all_certificates_in_both_files_counts() {
        // Years from 2050 on are written in another form in a certificate.
        let (soon, later, last) = (ends_in(2040), ends_in(2051), ends_in(2060));
        assert_eq!(expire(&soon, &later).unwrap(), 2_214_172_800);
        assert_eq!(expire(&last, &later).unwrap(), 2_561_241_600);
        assert_eq!(expire(&last, &format!("{later}{soon}")).unwrap(), 2_214_172_800);
    }

    #[test]
    fn a_file_without_a_usable_certificate_is_named() {
        let good = ends_in(2040);
        let torn = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        for bad in ["", "no certificate", torn] {
            let error = expire(&good, bad).unwrap_err().to_string();
            assert!(error.contains("/cert"), "{error}");
        }
    }
}
