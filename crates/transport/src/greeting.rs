//! The messages of the handshake, and the version of frames that two nodes agree on.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

pub(crate) const MAGIC: [u8; 8] = *b"waypost\0";

/// The version of frames of nodes that do not state their versions.
pub(crate) const FIRST_VERSION: u8 = 2;

/// The dialer's first message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) magic: [u8; 8],
    pub(crate) version: u8,
    pub(crate) cluster: Option<[u8; 16]>,
    pub(crate) node: u64,
    pub(crate) name: String,
    pub(crate) wanted: Option<u64>,
    pub(crate) nonce: [u8; 32],
    /// The oldest and the newest version of frames that the dialer speaks; 0 = `version` only.
    pub(crate) oldest: u8,
    pub(crate) newest: u8,
}

impl Hello {
    pub(crate) fn versions(&self) -> RangeInclusive<u8> {
        match self.newest {
            0 => self.version..=self.version,
            newest => self.oldest..=newest,
        }
    }
}

/// The newest common version.
pub(crate) fn common_version(ours: &RangeInclusive<u8>, theirs: &RangeInclusive<u8>) -> Option<u8> {
    let newest = *ours.end().min(theirs.end());
    (newest >= *ours.start().max(theirs.start())).then_some(newest)
}

/// The listener's messages.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Welcome { cluster: Option<[u8; 16]>, node: u64, name: String, nonce: [u8; 32], proof: [u8; 32], version: u8 },
    Refused(String),
    Ready,
}

/// The name of a side in its proof. It includes the version, so that nobody in between can downgrade two nodes to an older one.
pub(crate) fn side(name: &[u8], version: u8) -> Vec<u8> {
    match version {
        FIRST_VERSION => name.to_vec(),
        later => [name, &[later]].concat(),
    }
}
