//! The texts of a language.

use serde::Deserialize;

/// What a page says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// No link has the code.
    UnknownLink,
    /// No link has the code, whose check character is wrong.
    MistypedLink,
    /// The link has expired.
    ExpiredLink,
    /// The link begins later.
    LinkNotYet,
    /// All visits of the link's limit are used.
    ExhaustedLink,
    /// The link is disabled.
    DisabledLink,
    /// The link needs a password.
    ProtectedLink,
    /// Nothing has the path.
    Nothing,
    /// The path is for programs.
    ForPrograms,
    /// The path belongs to the other listener.
    OtherListener,
    /// The visitor has to wait.
    TooMany,
    /// The visitor has tried too many passwords, and has to wait.
    TooManyPasswords,
    /// Anything else: the server cannot answer now.
    NotNow,
}

/// A heading and a sentence below it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Text {
    pub(super) title: String,
    pub(super) text: String,
}

/// The words of the form for a password.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordTexts {
    pub(super) label: String,
    pub(super) wrong: String,
    pub(super) button: String,
}

/// The words of a preview.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct PreviewTexts {
    pub(super) title: String,
    pub(super) text: String,
    /// Added to the text of a link that leads other visitors elsewhere.
    pub(super) varies: String,
    pub(super) created: String,
}

/// All texts of a language. In the files, the names are those of the fields, with `-`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Texts {
    unknown_link: Text,
    mistyped_link: Text,
    expired_link: Text,
    link_not_yet: Text,
    exhausted_link: Text,
    disabled_link: Text,
    protected_link: Text,
    nothing: Text,
    for_programs: Text,
    other_listener: Text,
    too_many: Text,
    too_many_passwords: Text,
    not_now: Text,
    pub(super) password: PasswordTexts,
    pub(super) preview: PreviewTexts,
}

impl Texts {
    /// The text of a message.
    pub(super) fn of(&self, message: Message) -> &Text {
        match message {
            Message::UnknownLink => &self.unknown_link,
            Message::MistypedLink => &self.mistyped_link,
            Message::ExpiredLink => &self.expired_link,
            Message::LinkNotYet => &self.link_not_yet,
            Message::ExhaustedLink => &self.exhausted_link,
            Message::DisabledLink => &self.disabled_link,
            Message::ProtectedLink => &self.protected_link,
            Message::Nothing => &self.nothing,
            Message::ForPrograms => &self.for_programs,
            Message::OtherListener => &self.other_listener,
            Message::TooMany => &self.too_many,
            Message::TooManyPasswords => &self.too_many_passwords,
            Message::NotNow => &self.not_now,
        }
    }
}
