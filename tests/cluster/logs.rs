//! What the logs of nodes say of each other.

use std::path::Path;
use std::time::{Duration, Instant};

use waypost_testkit::Cluster;

use super::started;

/// Whether a text has a number as long as the id of a node.
fn has_long_number(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() >= 15)
}

/// The files of a certificate for all nodes, by the variables that name them.
fn certificates(dir: &Path) -> [(&'static str, String); 3] {
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = rcgen::CertifiedIssuer::self_signed(parameters, rcgen::KeyPair::generate().unwrap()).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let of_node = rcgen::CertificateParams::new(vec!["waypost-peer".to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
    let files = [("CA", ca.pem()), ("CERT", of_node.pem()), ("KEY", key.serialize_pem())];
    let names = ["WAYPOST_PEER_TLS_CA", "WAYPOST_PEER_TLS_CERT", "WAYPOST_PEER_TLS_KEY"];
    std::array::from_fn(|i| {
        let path = dir.join(files[i].0);
        std::fs::write(&path, &files[i].1).unwrap();
        (names[i], path.to_str().unwrap().to_owned())
    })
}

#[tokio::test]
async fn logs_call_nodes_by_their_names_and_say_of_a_killed_one_only_that_it_is_gone() {
    let of_tls = tempfile::tempdir().unwrap();
    let files = certificates(of_tls.path());
    let with_tls = |cluster| files.iter().fold(cluster, |cluster: Cluster, (name, file)| cluster.env(name, file));
    let (_dir, mut cluster) = started(3, with_tls).await;
    cluster.kill(2).unwrap();
    let told =
        |errors: &str| errors.contains("a node cannot be reached") && errors.contains("connection to a node has ended");
    let deadline = Instant::now() + Duration::from_secs(60);
    for survivor in [0, 1] {
        loop {
            let errors = cluster.node(survivor).errors();
            if told(&errors) {
                break;
            }
            assert!(Instant::now() < deadline, "{errors}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    for survivor in [0, 1] {
        let errors = cluster.node(survivor).errors();
        assert!(errors.contains("peer=\"n3\""), "{errors}");
        for line in errors.lines() {
            assert!(!has_long_number(line) && !line.contains("https://"), "{line}");
            assert!(!line.contains("a connection from a node was closed"), "{line}");
        }
    }
}
