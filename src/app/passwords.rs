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

use crate::limits::{HASHES_AT_ONCE, PASSWORDS_AT_ONCE, PASSWORDS_WAITING_MAX};

/// What a key for salts is derived for.
const SALT_CONTEXT: &str = "waypost 2026-11 salts of passwords";

/// Bytes of a salt, as the specification of argon2 recommends.
const SALT_BYTES: usize = 16;

/// The name of the pool in errors.
const NAME: &str = "passwords";

/// Hashes and checks passwords.
pub struct Passwords {
    /// For links that are created or changed.
    links: Queue,
    /// For visitors.
    visitors: Queue,
    running: Arc<Semaphore>,
    salt_key: [u8; 32],
}

/// Those who wait. Visitors have a queue of their own, so that passwords that are hashed in bulk do not take their places.
struct Queue {
    /// Those that have a turn, or wait for one.
    places: Semaphore,
    /// Those that may run at the same time, if nothing else does.
    turns: Arc<Semaphore>,
}

impl Queue {
    fn new(at_once: usize) -> Self {
        Self { places: Semaphore::new(at_once + PASSWORDS_WAITING_MAX), turns: Arc::new(Semaphore::new(at_once)) }
    }
}

impl Passwords {
    /// `secret` is the same on all nodes of a cluster.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self {
            links: Queue::new(HASHES_AT_ONCE),
            visitors: Queue::new(PASSWORDS_AT_ONCE),
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
        let work = move || Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
        let hash = self.run(&self.links, work).await?;
        let hash =
            hash.map_err(|error| ServiceError::Unavailable(format!("the password cannot be hashed: {error}")))?;
        Ok(PasswordHash::new(&hash.to_string()))
    }

    /// Whether the password of a visitor is the one that was hashed. A hash that cannot be read is of no password.
    ///
    /// # Errors
    /// If too many visitors wait.
    pub async fn check(&self, password: &Password, hash: &PasswordHash) -> Result<bool, CallError> {
        self.compare(&self.visitors, password, hash).await
    }

    /// Whether the password that a link is given is the one that it has. As [`Passwords::check`], in the queue of [`Passwords::hash`].
    ///
    /// # Errors
    /// If too many wait.
    pub async fn is_same(&self, password: &Password, hash: &PasswordHash) -> Result<bool, CallError> {
        self.compare(&self.links, password, hash).await
    }

    async fn compare(&self, queue: &Queue, password: &Password, hash: &PasswordHash) -> Result<bool, CallError> {
        let (password, hash) = (password.clone(), hash.clone());
        self.run(queue, move || Argon2::default().verify_password(password.as_bytes(), hash.as_str()).is_ok()).await
    }

    async fn run<T: Send + 'static>(
        &self,
        queue: &Queue,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, CallError> {
        let _place = queue.places.try_acquire().map_err(|_| CallError::Overloaded { service: NAME })?;
        let permit = |of: &Arc<Semaphore>| {
            let permit = of.clone().acquire_owned();
            async { permit.await.expect("invariant: nobody closes the semaphore") }
        };
        // In this order: whoever waits for a turn of its queue keeps nobody of the other one waiting.
        let permits = (permit(&queue.turns).await, permit(&self.running).await);
        // It goes on if the request ends, and has its permits as long.
        let done = tokio::task::spawn_blocking(move || {
            let _running = permits;
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
        let visitors = &passwords.visitors;
        let places = PASSWORDS_AT_ONCE + PASSWORDS_WAITING_MAX;
        let held: Vec<_> = (0..places).map(|_| passwords.run(visitors, || ())).collect();
        let mut all = Box::pin(join_all(held));
        // All take their places at the first poll.
        let refused = tokio::select! {
            biased;
            _ = &mut all => panic!("a thread was faster than the same thread"),
            refused = passwords.run(visitors, || ()) => refused,
        };
        assert_eq!(refused, Err(CallError::Overloaded { service: NAME }));
        assert!(all.await.iter().all(Result::is_ok));
        assert_eq!(passwords.run(visitors, || 7).await, Ok(7));
    }

    #[tokio::test]
    async fn passwords_that_are_hashed_in_bulk_leave_visitors_their_places_and_a_turn() {
        let passwords = Passwords::new(&[1; 32]);
        let (one, hash) = (password("secret"), passwords.hash(&password("secret"), None).await.unwrap());
        // A hash that does not end, and as many behind it as may wait.
        let (end, ends) = std::sync::mpsc::channel::<()>();
        let endless = passwords.run(&passwords.links, move || ends.recv().is_ok());
        let waiting = (0..PASSWORDS_WAITING_MAX).map(|_| passwords.run(&passwords.links, || ()));
        let mut bulk = Box::pin(futures_util::future::join(endless, join_all(waiting)));
        let check = async {
            assert_eq!(passwords.is_same(&one, &hash).await, Err(CallError::Overloaded { service: NAME }));
            passwords.check(&one, &hash).await
        };
        let checked = tokio::select! {
            biased;
            _ = &mut bulk => panic!("the first hash has ended"),
            checked = check => checked,
        };
        assert_eq!(checked, Ok(true));
        drop(end);
        assert!(bulk.await.1.iter().all(Result::is_ok));
    }
}
