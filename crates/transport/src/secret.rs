//! The secret of a cluster, and proofs of knowing it.

/// The secret that all nodes of a cluster share.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Makes the secret from a text. An empty text gives no protection except against mistakes.
    pub fn new(text: &str) -> Self {
        Self(blake3::derive_key("waypost 2026-11 secret of the peers", text.as_bytes()))
    }
}

/// A proof of one side, over its name, the Hello as it was sent, and the node and nonce of the Welcome.
pub(crate) fn proof(secret: &Secret, side: &[u8], hello: &[u8], node: u64, nonce: &[u8; 32]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(&secret.0);
    for part in [side, hello, &node.to_le_bytes(), nonce] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}
