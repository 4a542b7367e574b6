//! Commands that speak TLS to a server, or to the proxy in front of it.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use crate::{PROGRAM, fresh_node};

/// A proxy that ends TLS in front of `upstream`, with a certificate for 127.0.0.1; its address, and the certificate of its authority in PEM.
async fn tls_proxy(upstream: SocketAddr) -> (SocketAddr, String) {
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = rcgen::CertifiedIssuer::self_signed(parameters, rcgen::KeyPair::generate().unwrap()).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let own = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let chain = vec![CertificateDer::from(own.der().to_vec())];
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut client = acceptor.accept(stream).await?;
                let mut server = TcpStream::connect(upstream).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    (address, authority.pem())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_speak_tls_to_a_server_that_the_machine_trusts_and_to_no_other() {
    let (dir, node) = fresh_node();
    let (proxy, pem) = tls_proxy(node.address()).await;
    let authority = dir.path().join("authority.pem");
    std::fs::write(&authority, pem).unwrap();
    let server = format!("https://{proxy}");
    let command = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).args(["--server", &server]);
        command
    };
    let trusted = command(&["shorten", "https://example.com/", "--slug", "safe"])
        .env("SSL_CERT_FILE", &authority)
        .output()
        .unwrap();
    assert_eq!(trusted.status.code(), Some(0), "{}", String::from_utf8_lossy(&trusted.stderr));
    assert_eq!(node.client().follow("safe").await.unwrap().as_deref(), Some("https://example.com/"));
    let strange = command(&["resolve", "safe"]).env_remove("SSL_CERT_FILE").output().unwrap();
    let said = String::from_utf8_lossy(&strange.stderr).into_owned();
    assert_eq!(strange.status.code(), Some(4), "{said}");
    assert!(said.contains("is not trusted") && said.contains("SSL_CERT_FILE"), "{said}");
}
