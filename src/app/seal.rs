//! Texts that a browser carries for the nodes of a cluster: nobody else can read them, or make one.
//!
//! A text is masked with the output of a keyed blake3 that depends on a random number, and has a keyed blake3 of both at its end. The keys are derived from the cluster's secret, so
//! that each of its nodes can open what another one has sealed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const MASK_CONTEXT: &str = "waypost 2026-11 mask of sealed texts";
const CHECK_CONTEXT: &str = "waypost 2026-11 check of sealed texts";

/// Random bytes: none comes twice.
const NONCE_BYTES: usize = 24;
const CHECK_BYTES: usize = 32;

/// Seals texts, and opens them.
pub(super) struct Seal {
    mask: [u8; 32],
    check: [u8; 32],
}

impl Seal {
    /// `secret` is the same on all nodes of the cluster.
    pub(super) fn new(secret: &[u8; 32]) -> Self {
        Self { mask: blake3::derive_key(MASK_CONTEXT, secret), check: blake3::derive_key(CHECK_CONTEXT, secret) }
    }

    /// Seals a text, as a word for a path.
    pub(super) fn seal(&self, text: &[u8]) -> String {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let mut sealed = [&nonce[..], text].concat();
        self.turn(&nonce, &mut sealed[NONCE_BYTES..]);
        let check = blake3::keyed_hash(&self.check, &sealed);
        sealed.extend_from_slice(check.as_bytes());
        URL_SAFE_NO_PAD.encode(sealed)
    }

    /// Opens what a node of this cluster has sealed; `None` for anything else.
    pub(super) fn open(&self, word: &str) -> Option<Vec<u8>> {
        let sealed = URL_SAFE_NO_PAD.decode(word).ok()?;
        let (masked, check) = sealed.split_at_checked(sealed.len().checked_sub(CHECK_BYTES)?)?;
        let check: [u8; CHECK_BYTES] = check.try_into().ok()?;
        // Compared in constant time.
        if blake3::keyed_hash(&self.check, masked) != blake3::Hash::from_bytes(check) {
            return None;
        }
        let (nonce, text) = masked.split_at_checked(NONCE_BYTES)?;
        let mut text = text.to_vec();
        self.turn(nonce, &mut text);
        Some(text)
    }

    /// Masks a text, or takes the mask away.
    fn turn(&self, nonce: &[u8], text: &mut [u8]) {
        let mut mask = vec![0; text.len()];
        blake3::Hasher::new_keyed(&self.mask).update(nonce).finalize_xof().fill(&mut mask);
        text.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
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
