//! Hashes and checks passwords of links: argon2id, on threads that answer no requests, a few at a time.
//!
//! A hash takes 19 MiB and some 20 ms of a core: the least that OWASP recommends (m = 19 MiB, t = 2, p = 1), because everybody may ask for one who
//! knows the code of a protected link, and redirects share the cores.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;
use waypost_protocol::digest::IdempotencyKey;
use waypost_protocol::{CallError, Password, PasswordHash, ServiceError};

use crate::limits::{PASSWORDS_AT_ONCE, PASSWORDS_WAITING_MAX};

/// What a key for salts is derived for.
const SALT_CONTEXT: &str = "waypost 2026-11 salts of passwords";

/// Bytes of a salt, as the specification of argon2 recommends.
const SALT_BYTES: usize = 16;

/// The name of the pool in errors.
const NAME: &str = "passwords";

/// Hashes and checks passwords.
pub struct Passwords {
    /// Hashes that are made or wait.
    places: Semaphore,
    running: Arc<Semaphore>,
    salt_key: [u8; 32],
}

impl Passwords {
    /// `secret` is the same on all nodes of a cluster.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self {
            places: Semaphore::new(PASSWORDS_AT_ONCE + PASSWORDS_WAITING_MAX),
            running: Arc::new(Semaphore::new(PASSWORDS_AT_ONCE)),
            salt_key: blake3::derive_key(SALT_CONTEXT, secret),
        }
    }

    /// Hashes a password. A repeated request with the same idempotency key gets the same salt, so it makes the same link, and counts as the
    /// same request on any node; every other one gets a salt of its own.
    ///
    /// # Errors
    /// If too many wait.
    pub async fn hash(&self, password: &Password, request: Option<&IdempotencyKey>) -> Result<PasswordHash, CallError> {
        let salt: [u8; SALT_BYTES] = match request {
            None => rand::random(),
            Some(key) => {
                let digest = blake3::keyed_hash(&self.salt_key, &key.0);
                std::array::from_fn(|at| digest.as_bytes()[at])
            }
        };
        let password = password.clone();
        let hash = self.run(move || Argon2::default().hash_password_with_salt(password.as_bytes(), &salt)).await?;
        let hash =
            hash.map_err(|error| ServiceError::Unavailable(format!("the password cannot be hashed: {error}")))?;
        Ok(PasswordHash::new(&hash.to_string()))
    }

    /// Whether a password is the one that was hashed. A hash that cannot be read is of no password.
    ///
    /// # Errors
    /// If too many wait.
    pub async fn check(&self, password: &Password, hash: &PasswordHash) -> Result<bool, CallError> {
        let (password, hash) = (password.clone(), hash.clone());
        self.run(move || Argon2::default().verify_password(password.as_bytes(), hash.as_str()).is_ok()).await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, CallError> {
        let _place = self.places.try_acquire().map_err(|_| CallError::Overloaded { service: NAME })?;
        let running = self.running.clone().acquire_owned().await;
        let running = running.expect("invariant: nobody closes the semaphore");
        // It goes on if the request ends, and has its permit as long.
        let done = tokio::task::spawn_blocking(move || {
            let _running = running;
            work()
        });
        done.await.map_err(|_| CallError::Unavailable { service: NAME })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    fn password(text: &str) -> Password {
        Password::parse(text).unwrap()
    }

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_which_has_a_salt_of_its_own() {
        let passwords = Passwords::new(&[1; 32]);
        let (one, two) = (password("correct horse"), password("correct horsf"));
        let hash = passwords.hash(&one, None).await.unwrap();
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.as_str());
        assert_eq!(passwords.check(&one, &hash).await, Ok(true));
        assert_eq!(passwords.check(&two, &hash).await, Ok(false));
        assert_ne!(passwords.hash(&one, None).await.unwrap(), hash);
        for damaged in ["", "$argon2id$", "correct horse"] {
            assert_eq!(passwords.check(&one, &PasswordHash::new(damaged)).await, Ok(false), "{damaged}");
        }
    }

    #[tokio::test]
    async fn a_repeated_request_has_the_same_hash_on_every_node_and_another_request_another_one() {
        let key = |text: &str| IdempotencyKey::of(0, text);
        let nodes = [Passwords::new(&[1; 32]), Passwords::new(&[1; 32]), Passwords::new(&[2; 32])];
        let mut hashes = Vec::new();
        for node in &nodes {
            hashes.push(node.hash(&password("secret"), Some(&key("a"))).await.unwrap());
        }
        assert_eq!(hashes[0], hashes[1]);
        assert_ne!(hashes[0], hashes[2], "another cluster");
        assert_ne!(nodes[0].hash(&password("secret"), Some(&key("b"))).await.unwrap(), hashes[0]);
        assert_ne!(nodes[0].hash(&password("Secret"), Some(&key("a"))).await.unwrap(), hashes[0]);
    }

    #[tokio::test]
    async fn those_beyond_the_queue_are_refused_at_once() {
        let passwords = Passwords::new(&[1; 32]);
        let held: Vec<_> = (0..PASSWORDS_AT_ONCE + PASSWORDS_WAITING_MAX).map(|_| passwords.run(|| ())).collect();
        let mut all = Box::pin(join_all(held));
        // All take their places at the first poll.
        let refused = tokio::select! {
            biased;
            _ = &mut all => panic!("a thread was faster than the same thread"),
            refused = passwords.run(|| ()) => refused,
        };
        assert_eq!(refused, Err(CallError::Overloaded { service: NAME }));
        assert!(all.await.iter().all(Result::is_ok));
        assert_eq!(passwords.run(|| 7).await, Ok(7));
    }
}
