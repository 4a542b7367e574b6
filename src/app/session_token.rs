//! Tokens of sessions: random texts that browsers keep, and the text that follows each.

use std::fmt;

use waypost_protocol::digest::KeyDigest;

/// What the key that tokens are derived with is derived for.
const NEXT_CONTEXT: &str = "waypost 2026-11 next tokens of sessions";

/// The length of a token: 256 bits in hexadecimal.
const TOKEN_BYTES: usize = 64;

/// A secret text of 256 bits. It is never shown by debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionToken(String);

impl SessionToken {
    /// A token that nobody has had.
    pub(super) fn random() -> Self {
        Self(blake3::Hash::from_bytes(rand::random()).to_hex().to_string())
    }

    /// Reads a token; `None` for a text that cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let possible = text.len() == TOKEN_BYTES && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        possible.then(|| Self(text.to_owned()))
    }

    /// What is stored of it.
    pub(super) fn digest(&self) -> KeyDigest {
        KeyDigest::of(&self.0)
    }

    /// The text, for the browser.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(…)")
    }
}

/// Derives the token that follows another one: the same on all nodes of a cluster, and known to nobody who has only one of token and key.
pub(super) struct NextTokens([u8; 32]);

impl NextTokens {
    /// `secret` is the same on all nodes of the cluster.
    pub(super) fn new(secret: &[u8; 32]) -> Self {
        Self(blake3::derive_key(NEXT_CONTEXT, secret))
    }

    /// The token that replaces `token`.
    pub(super) fn after(&self, token: &SessionToken) -> SessionToken {
        SessionToken(blake3::keyed_hash(&self.0, token.0.as_bytes()).to_hex().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_token_is_another_and_is_read_as_it_is_written() {
        let (one, other) = (SessionToken::random(), SessionToken::random());
        assert_ne!(one, other);
        assert_eq!(SessionToken::parse(one.reveal()), Some(one.clone()));
        assert_ne!(one.digest(), other.digest());
        assert!(!format!("{one:?}").contains(one.reveal()));
        for text in ["", "a", &"g".repeat(64), &"A".repeat(64), &"a".repeat(63), &"a".repeat(65), "é"] {
            assert_eq!(SessionToken::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_next_token_is_the_same_on_every_node_of_a_cluster_and_on_no_other() {
        let nodes = [NextTokens::new(&[1; 32]), NextTokens::new(&[1; 32]), NextTokens::new(&[2; 32])];
        let token = SessionToken::random();
        let next: Vec<SessionToken> = nodes.iter().map(|node| node.after(&token)).collect();
        assert_eq!(next[0], next[1]);
        assert_ne!(next[0], next[2]);
        assert_ne!(next[0], token);
        assert_ne!(nodes[0].after(&next[0]), next[0]);
        assert_eq!(SessionToken::parse(next[0].reveal()), Some(next[0].clone()));
    }
}
