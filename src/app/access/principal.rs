//! Principals: who asks for something, and what each of them may do.

use super::{Credential, Unintended};

/// The number of the admin key, for the record of who created a link.
const ADMIN: u32 = 1;

/// The number of the own account, and of the command line's key, which only that account can read.
const OWN_ACCOUNT: u32 = 0;

/// What a function of the application layer needs its caller to be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// See what a link is.
    ReadLinks,
    /// Create, edit and delete links, reset their statistics, and be issued codes.
    WriteLinks,
    /// See statistics.
    ReadStatistics,
    /// Read everything that the cluster has stored.
    ReadBackup,
    /// See the nodes of the cluster and its groups.
    ReadCluster,
    /// Drain and remove nodes, and move leaders.
    AdministerCluster,
}

/// Who has a permission.
enum Holders {
    Everybody,
    /// The own account while the cluster has no admin key, and every key.
    AccountOrKey,
    /// Keys only: a page, a proxy or a mistake must not be able to take everything away.
    Key,
}

impl Permission {
    fn holders(self) -> Holders {
        match self {
            Self::ReadCluster => Holders::Everybody,
            Self::ReadLinks | Self::WriteLinks | Self::ReadStatistics => Holders::AccountOrKey,
            Self::ReadBackup | Self::AdministerCluster => Holders::Key,
        }
    }
}

/// Why a principal may not do something.
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
    /// The request may not be meant by the person in whose name it is sent.
    #[error("the request may not be meant by its user ({0:?})")]
    Unintended(Unintended),
}

/// Why a request needs a key, or another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyNeeded {
    /// It carries none.
    Missing,
    /// The server does not know the one that it carries.
    Unknown,
    /// What it asks for needs one whoever asks.
    Always,
    /// A proxy passes it on.
    PassedOn,
    /// It comes from a process of another account than the server's.
    OtherAccount,
    /// The server cannot tell which account it comes from.
    UnknownAccount,
}

/// Who asks for something. Only [`super::Authenticator`] makes one.
#[derive(Debug, Clone)]
pub struct Principal {
    identity: Identity,
    /// The request carried a key.
    presents_key: bool,
    /// What it is answered where only a key will do.
    without_key: Denied,
}

#[derive(Debug, Clone)]
enum Identity {
    /// Nobody that the server knows, and why that is not enough.
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

    /// Checks that the principal may do something.
    ///
    /// # Errors
    /// Why it may not.
    pub fn require(&self, permission: Permission) -> Result<(), Denied> {
        match (&self.identity, permission.holders()) {
            (_, Holders::Everybody) | (Identity::CommandLine | Identity::Admin, _) => Ok(()),
            (Identity::OwnAccount, Holders::AccountOrKey) => Ok(()),
            (Identity::Anonymous(why), Holders::AccountOrKey) => Err(*why),
            (Identity::Anonymous(_) | Identity::OwnAccount, Holders::Key) => Err(self.without_key),
        }
    }

    /// Whether the request carried a key, right or wrong.
    pub fn presents_key(&self) -> bool {
        self.presents_key
    }

    /// The number of the key, for the record of who created a link; 0 = none was needed.
    pub fn number(&self) -> u32 {
        match self.identity {
            Identity::Admin => ADMIN,
            Identity::Anonymous(_) | Identity::OwnAccount | Identity::CommandLine => OWN_ACCOUNT,
        }
    }
}
