//! Principals: the senders of requests, and their permissions.

use waypost_protocol::session::BY_ADMIN_KEY;

use super::{Credential, Unintended};

/// The number of the admin key, for the record of who created and edited a link.
const ADMIN: u32 = BY_ADMIN_KEY;

/// The number of the server's own account, and of the key in `cli.key`, which only that account can read.
const OWN_ACCOUNT: u32 = 0;

/// Who has made a change, from the number that is recorded with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// A process of the server's own account.
    Account,
    /// Somebody with the admin key.
    Admin,
    /// Somebody with a key that this version does not know.
    Key(u32),
}

impl Author {
    /// The author of a number.
    pub fn of(number: u32) -> Self {
        match number {
            OWN_ACCOUNT => Self::Account,
            ADMIN => Self::Admin,
            other => Self::Key(other),
        }
    }
}

/// A permission that a function of the application layer requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Read links.
    ReadLinks,
    /// Create, edit and delete links, reset their statistics, and get codes.
    WriteLinks,
    /// Make, change and remove domains.
    WriteDomains,
    /// Read statistics.
    ReadStatistics,
    /// Read everything that the cluster has stored.
    ReadBackup,
    /// Read the status of the nodes of the cluster and its groups.
    ReadCluster,
    /// Drain and remove nodes, and move leaders.
    AdministerCluster,
    /// List and end sessions of the dashboard, and make one-time links to it.
    ManageSessions,
}

/// The principals that have a permission.
enum Holders {
    Everybody,
    /// The server's own account while the cluster has no admin key, and every key.
    AccountOrKey,
    /// Keys only: a page, a proxy or a mistake must not be able to take everything away.
    Key,
}

impl Permission {
    fn holders(self) -> Holders {
        match self {
            Self::ReadCluster => Holders::Everybody,
            Self::ReadLinks | Self::WriteLinks | Self::WriteDomains | Self::ReadStatistics => Holders::AccountOrKey,
            Self::ReadBackup | Self::AdministerCluster | Self::ManageSessions => Holders::Key,
        }
    }
}

/// Why a principal has no permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It needs a key, or another one.
    #[error("an API key is needed ({reason:?})")]
    KeyNeeded {
        /// Why.
        reason: KeyNeeded,
        /// Whether the cluster has an admin key.
        key_is_set: bool,
    },
    /// The user in whose name the request is sent may not have intended it.
    #[error("the request may not be meant by its user ({0:?})")]
    Unintended(Unintended),
    /// Somebody who is signed in on the public listener asks for what is done on the admin listener.
    #[error("the cluster is changed on the admin listener")]
    OnPublicListener,
}

/// Why a request needs a key, or another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyNeeded {
    /// It carries none.
    Missing,
    /// The server does not know its key.
    Unknown,
    /// The operation always needs a key.
    Always,
    /// A proxy forwarded it.
    PassedOn,
    /// It comes from a process of another account than the server's.
    OtherAccount,
    /// The account is unknown.
    UnknownAccount,
}

/// The sender of a request. Only [`super::Authenticator`] creates one.
#[derive(Debug, Clone)]
pub struct Principal {
    identity: Identity,
    /// The request carried a key.
    presents_key: bool,
    /// The request comes from a page of the dashboard on the public listener.
    on_public_page: bool,
    /// The error for operations that always need a key.
    without_key: Denied,
}

#[derive(Debug, Clone)]
enum Identity {
    /// An unknown sender, and why that is not enough.
    Anonymous(Denied),
    /// A process of the server's own account on this machine.
    OwnAccount,
    /// A command of that account, with the key in `DATA/cli.key`.
    CommandLine,
    /// The admin key.
    Admin,
}

impl Principal {
    fn new(identity: Identity, credential: Credential<'_>, key_is_set: bool) -> Self {
        let reason = match credential {
            Credential::Key(_) => KeyNeeded::Unknown,
            Credential::None | Credential::Unreadable => KeyNeeded::Always,
        };
        Self {
            identity,
            presents_key: credential != Credential::None,
            on_public_page: false,
            without_key: Denied::KeyNeeded { reason, key_is_set },
        }
    }

    pub(super) fn anonymous(why: Denied, credential: Credential<'_>, key_is_set: bool) -> Self {
        Self::new(Identity::Anonymous(why), credential, key_is_set)
    }

    pub(super) fn own_account(credential: Credential<'_>) -> Self {
        Self::new(Identity::OwnAccount, credential, false)
    }

    pub(super) fn command_line() -> Self {
        Self::new(Identity::CommandLine, Credential::Key(""), true)
    }

    pub(super) fn admin() -> Self {
        Self::new(Identity::Admin, Credential::Key(""), true)
    }

    /// The same without the administration of the cluster and backups: for pages on the public listener, which everybody can reach, so that a stolen
    /// session cannot take everything away.
    #[must_use]
    pub fn on_public_page(self) -> Self {
        Self { on_public_page: true, ..self }
    }

    /// Checks that the principal has a permission.
    ///
    /// # Errors
    /// Why it has not.
    pub fn require(&self, permission: Permission) -> Result<(), Denied> {
        if self.on_public_page && matches!(permission, Permission::ReadBackup | Permission::AdministerCluster) {
            return Err(Denied::OnPublicListener);
        }
        match (&self.identity, permission.holders()) {
            (_, Holders::Everybody) | (Identity::CommandLine | Identity::Admin, _) => Ok(()),
            (Identity::OwnAccount, Holders::AccountOrKey) => Ok(()),
            (Identity::Anonymous(why), Holders::AccountOrKey) => Err(*why),
            (Identity::Anonymous(_) | Identity::OwnAccount, Holders::Key) => Err(self.without_key),
        }
    }

    /// Whether the request carried a key, valid or not.
    pub fn presents_key(&self) -> bool {
        self.presents_key
    }

    /// The number of the key, for the record of who created and edited a link; 0 = none was needed.
    pub fn number(&self) -> u32 {
        match self.identity {
            Identity::Admin => ADMIN,
            Identity::Anonymous(_) | Identity::OwnAccount | Identity::CommandLine => OWN_ACCOUNT,
        }
    }
}
