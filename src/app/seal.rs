//! Texts that a browser carries for the nodes of a cluster: nobody else can read them, or make one.
//!
//! A text is encrypted and authenticated by ChaCha20-Poly1305 (RFC 8439) under a random nonce. The key is derived from the cluster's secret, so that each of its
//! nodes can open what another one has sealed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

const KEY_CONTEXT: &str = "waypost 2026-11 key of sealed texts";

/// Seals texts, and opens them.
pub(super) struct Seal(LessSafeKey);

impl Seal {
    /// `secret` is the same on all nodes of the cluster.
    pub(super) fn new(secret: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &blake3::derive_key(KEY_CONTEXT, secret));
        Self(LessSafeKey::new(key.expect("invariant: a key of ChaCha20 has 32 bytes")))
    }

    /// Seals a text, as a word for a path. A random nonce of 96 bits is enough for some thousand million texts of a secret.
    pub(super) fn seal(&self, text: &[u8]) -> String {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut sealed = text.to_vec();
        let done = self.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed);
        done.expect("invariant: a text is shorter than the 256 GiB that ChaCha20 can encrypt");
        URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat())
    }

    /// Opens what a node of this cluster has sealed; `None` for anything else.
    pub(super) fn open(&self, word: &str) -> Option<Vec<u8>> {
        let sealed = URL_SAFE_NO_PAD.decode(word).ok()?;
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let text = self.0.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::empty(), &mut sealed);
        text.ok().map(|text| text.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_of_the_cluster_opens_what_another_one_has_sealed_and_nobody_else_does() {
        let [one, other, elsewhere] = [[1; 32], [1; 32], [2; 32]].map(|secret| Seal::new(&secret));
        for text in [&b""[..], b"a", &[b'x'; 5000]] {
            let word = one.seal(text);
            assert!(word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')), "{word}");
            assert_eq!((other.open(&word).as_deref(), elsewhere.open(&word)), (Some(text), None));
        }
        assert_ne!(one.seal(b"the same"), one.seal(b"the same"));
    }

    #[test]
    fn what_was_changed_or_is_something_else_is_not_opened() {
        let seal = Seal::new(&[7; 32]);
        let word = seal.seal(b"https://example.com/");
        let mut sealed = URL_SAFE_NO_PAD.decode(&word).unwrap();
        assert!(!sealed.windows(5).any(|part| part == b"https"));
        for at in 0..sealed.len() {
            sealed[at] ^= 1;
            assert_eq!(seal.open(&URL_SAFE_NO_PAD.encode(&sealed)), None, "byte {at}");
            sealed[at] ^= 1;
        }
        assert_eq!(seal.open(&word).as_deref(), Some(&b"https://example.com/"[..]));
        for other in ["", "a", "!", &word[1..], &word[..word.len() - 4], &"a".repeat(64)] {
            assert_eq!(seal.open(other), None, "{other}");
        }
    }
}
