//! Passwords of links: as people write them, and hashed, as they are stored.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::text::composed;

/// The fewest characters of a password: with fewer, a guess by hand may be right.
pub const PASSWORD_CHARS_MIN: usize = 4;
/// The most characters of a password.
pub const PASSWORD_CHARS_MAX: usize = 256;

/// Why a text cannot be a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// It is too short or too long.
    #[error("{PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters are possible")]
    Length,
    /// It has a control character.
    #[error("line breaks and other control characters are not possible")]
    Control,
}

/// A password as somebody writes it, with composed characters (Unicode NFC): keyboards and systems write the same letters differently.
/// Nothing is trimmed. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// The password in a text.
    ///
    /// # Errors
    /// If it is too short or too long, or has control characters.
    pub fn parse(text: &str) -> Result<Self, PasswordError> {
        let text = composed(text);
        match text.chars().count() {
            _ if text.chars().any(char::is_control) => Err(PasswordError::Control),
            PASSWORD_CHARS_MIN..=PASSWORD_CHARS_MAX => Ok(Self(text)),
            _ => Err(PasswordError::Length),
        }
    }

    /// Its bytes, for a hash.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(password)")
    }
}

/// A hashed password with the function, its parameters and its salt, as a PHC string. `Debug` does not show it: it can be guessed from.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(Box<str>);

impl PasswordHash {
    /// A hash in a PHC string (`$argon2id$v=19$…`). Whether it is one shows when a password is checked.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The PHC string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hash)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_composed_characters_and_limits_and_is_never_shown() {
        let password = Password::parse("Cafe\u{301} ").unwrap();
        assert_eq!(password.as_bytes(), "Café ".as_bytes());
        assert_eq!(format!("{password:?} {:?}", PasswordHash::new("$argon2id$x")), "(password) (hash)");
        for (text, refused) in [
            ("abc", PasswordError::Length),
            (&"x".repeat(PASSWORD_CHARS_MAX + 1), PasswordError::Length),
            ("ab\ncd", PasswordError::Control),
            ("", PasswordError::Length),
        ] {
            assert_eq!(Password::parse(text), Err(refused), "{text}");
        }
        assert!(Password::parse("abcd").is_ok() && Password::parse(&"ä".repeat(PASSWORD_CHARS_MAX)).is_ok());
    }
}
