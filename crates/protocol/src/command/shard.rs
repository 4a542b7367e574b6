//! The commands of a shard, which holds links and their visits.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{BatchError, GroupCommand, base};
use crate::click_columns;
use crate::clicks::ClickBatch;
use crate::codec::{decode_exact, encode};
use crate::digest::IdempotencyKey;
use crate::fields::EDITED_BY;
use crate::{Level, Link, LinkKey, LinkPatch, LinkSpec, LinkVersion, SpecError, UnixMs};

commands! {
    /// A change to a shard.
    ShardCommand {
        /// See [`Create`].
        7 = Create,
        /// See [`Edit`].
        8 = Edit,
        /// See [`Delete`].
        9 = Delete,
        /// See [`RemoveExpired`].
        10 = RemoveExpired,
        /// See [`RecordClicks`].
        11 = RecordClicks,
        /// See [`ResetStats`].
        12 = ResetStats,
        /// See [`EndJournals`].
        15 = EndJournals,
        /// See [`UseVisit`].
        20 = UseVisit,
    }
}

/// The number under which [`RecordClicks`] is stored since level 3: see `click_columns.rs`. No command has it.
const CLICK_COLUMNS: u8 = 64;

impl GroupCommand for ShardCommand {
    type Outcome = ShardOutcome;

    const GROUP: &'static str = "a shard";
    const NUMBERS: &'static [u8] = Self::NUMBERS;

    fn level(&self) -> Level {
        match self {
            Self::Create(create) => create.spec.level().max(create.key.code.level()),
            Self::Edit(edit) => edit.patch.level().max(edit.by.map_or(Level::BASE, |_| Level::THREE)),
            Self::EndJournals(_) => Level::ONE,
            Self::UseVisit(_) => Level::THREE,
            Self::Delete(_) | Self::RemoveExpired(_) | Self::RecordClicks(_) | Self::ResetStats(_) => Level::BASE,
        }
    }

    fn encode(&self, level: Level) -> Vec<u8> {
        match (level, self) {
            (Level::BASE, Self::Create(create)) => base::encode_create(create),
            (Level::BASE, Self::Edit(edit)) => base::encode_edit(edit),
            (level, Self::RecordClicks(clicks)) if level >= Level::THREE && click_columns::can_have(&clicks.0) => {
                let mut bytes = vec![CLICK_COLUMNS];
                click_columns::encode(&clicks.0, &mut bytes);
                bytes
            }
            _ => super::encode_one(self),
        }
    }

    fn take(level: Level, bytes: &[u8]) -> Result<(Self, &[u8]), BatchError> {
        match (level, bytes) {
            (Level::BASE, [base::CREATE, body @ ..]) => {
                base::take_create(body).map(|(create, rest)| (create.into(), rest))
            }
            (Level::BASE, [base::EDIT, body @ ..]) => base::take_edit(body).map(|(edit, rest)| (edit.into(), rest)),
            (level, [CLICK_COLUMNS, body @ ..]) if level >= Level::THREE => {
                let (clicks, rest) =
                    click_columns::decode(body).map_err(|error| BatchError::Damaged(error.to_string()))?;
                Ok((RecordClicks(Arc::new(clicks)).into(), rest))
            }
            _ => super::take_one(level, bytes),
        }
    }
}

/// Creates a link unless its key is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create {
    /// Domain and code.
    pub key: LinkKey,
    /// What is given for it. Optional fields since level 1.
    pub spec: LinkSpec,
    /// The number of the API key of the caller; 0 = open access.
    pub created_by: u32,
    /// Whether the code was generated (and not asked for).
    pub generated: bool,
    /// Answer with an existing link to the same URL instead, if there is one.
    pub find_existing: bool,
    /// The idempotency key that identifies a retry, with the fingerprint of the request.
    pub idempotency: Option<(IdempotencyKey, u64)>,
}

/// Stored in this order: the parts of the spec stand where they did before there was one.
impl Serialize for Create {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { key, spec, created_by, generated, find_existing, idempotency } = self;
        let LinkSpec { target, valid_until, fields } = spec;
        (key, target, valid_until, created_by, generated, find_existing, idempotency, fields).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Create {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (key, target, valid_until, created_by, generated, find_existing, idempotency, fields) =
            Deserialize::deserialize(from)?;
        let spec = LinkSpec { target, valid_until, fields };
        Ok(Self { key, spec, created_by, generated, find_existing, idempotency })
    }
}

/// Changes a link, if its version is still the expected one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Which link.
    pub key: LinkKey,
    /// The version that the editor saw; `None` = any.
    pub if_version: Option<LinkVersion>,
    /// What is changed. Optional fields since level 1.
    pub patch: LinkPatch,
    /// The number of the API key of the editor, for the history of the link; `None` = not known. Since level 3.
    pub by: Option<u32>,
}

/// Stored in this order: who edits stands among the optional fields.
impl Serialize for Edit {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { key, if_version, patch, by } = self;
        let mut patch = Cow::Borrowed(patch);
        if let Some(by) = by {
            patch.to_mut().fields.set(EDITED_BY, Some(encode(by)));
        }
        (key, if_version, patch).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Edit {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (key, if_version, mut patch): (_, _, LinkPatch) = Deserialize::deserialize(from)?;
        let by = patch.fields.take(EDITED_BY).and_then(|by| decode_exact(&by).ok());
        Ok(Self { key, if_version, patch, by })
    }
}

/// Deletes a link, if its version is still the expected one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete {
    /// Which link.
    pub key: LinkKey,
    /// The version that the caller saw; `None` = any.
    pub if_version: Option<LinkVersion>,
}

/// Removes those of the named links that had expired at `before`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveExpired {
    /// Candidates: as many as one round of upkeep asks for.
    pub keys: Vec<LinkKey>,
    /// Links that ended before this time go.
    pub before: UnixMs,
}

/// Adds visits. A batch that was applied before counts nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordClicks(pub Arc<ClickBatch>);

/// Forgets the statistics of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResetStats {
    /// Which link.
    pub key: LinkKey,
}

/// Forgets how far the clicks of these journals were counted: they have ended, or the node that had them cannot come back.
/// Since level 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndJournals {
    /// Their numbers.
    pub journals: Vec<u64>,
}

/// Uses a visit of a link's limit, if one is left. Since level 3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UseVisit {
    /// Which link.
    pub key: LinkKey,
}

numbered! {
    /// What came of a command of a shard.
    ShardOutcome {
        /// It was done.
        0 = Done,
        /// The link was created now, or by the same request earlier.
        5 = Created(link: Box<Link>),
        /// A link to the same URL exists already.
        6 = Existing(link: Box<Link>),
        /// The key names another link.
        7 = KeyTaken,
        /// The idempotency key was used for a different request.
        8 = IdempotencyMismatch,
        /// The link as it is now.
        9 = Edited(link: Box<Link>),
        /// The link is gone.
        10 = Deleted,
        /// There is no such link.
        11 = NotFound,
        /// The link is at another version.
        12 = VersionMismatch {
            /// The version it is at.
            current: LinkVersion,
        },
        /// How many links were removed.
        13 = Removed(removed: u32),
        /// The batch of clicks does not begin where the last one of these journals ended; it counts nothing. Up to where each was
        /// counted.
        14 = ClicksOutOfStep(reached: Vec<(u64, u64)>),
        /// The link would take more bytes than one may; nothing was done.
        19 = LinkTooLarge {
            /// How many that are.
            max: u32,
        },
        /// The link would have properties that do not fit each other; nothing was done. Since level 3.
        20 = Refused(reason: SpecError),
        /// All visits of the link's limit are used.
        21 = Exhausted,
    }
}

outcomes! {
    ShardCommand => ShardOutcome;

    Create =>
    /// What came of [`Create`].
    CreateOutcome {
        /// The link was created now, or by the same request earlier.
        Created(link: Box<Link>),
        /// A link to the same URL exists already.
        Existing(link: Box<Link>),
        /// The key names another link.
        KeyTaken,
        /// The idempotency key was used for a different request.
        IdempotencyMismatch,
        /// The link would take more bytes than one may; nothing was done.
        LinkTooLarge {
            /// How many that are.
            max: u32,
        },
    }

    Edit =>
    /// What came of [`Edit`].
    EditOutcome {
        /// The link as it is now.
        Edited(link: Box<Link>),
        /// There is no such link.
        NotFound,
        /// The link is at another version.
        VersionMismatch {
            /// The version it is at.
            current: LinkVersion,
        },
        /// The link would take more bytes than one may; nothing was done.
        LinkTooLarge {
            /// How many that are.
            max: u32,
        },
        /// The link would have properties that do not fit each other; nothing was done. Since level 3.
        Refused(reason: SpecError),
    }

    Delete =>
    /// What came of [`Delete`].
    DeleteOutcome {
        /// The link is gone.
        Deleted,
        /// There is no such link.
        NotFound,
        /// The link is at another version.
        VersionMismatch {
            /// The version it is at.
            current: LinkVersion,
        },
    }

    RemoveExpired =>
    /// What came of [`RemoveExpired`].
    RemoveExpiredOutcome {
        /// How many links were removed.
        Removed(removed: u32),
    }

    RecordClicks =>
    /// What came of [`RecordClicks`].
    RecordClicksOutcome {
        /// The batch is counted, now or before.
        Done,
        /// The batch does not begin where the last one of these journals ended; it counts nothing. Up to where each was counted.
        ClicksOutOfStep(reached: Vec<(u64, u64)>),
    }

    ResetStats =>
    /// What came of [`ResetStats`].
    ResetStatsOutcome {
        /// The link as it is.
        Edited(link: Box<Link>),
        /// There is no such link.
        NotFound,
    }

    EndJournals =>
    /// What came of [`EndJournals`].
    EndJournalsOutcome {
        /// The positions are forgotten.
        Done,
    }

    UseVisit =>
    /// What came of [`UseVisit`].
    UseVisitOutcome {
        /// A visit is used; or the link has no limit, and nothing was counted.
        Done,
        /// All visits of the limit are used.
        Exhausted,
        /// There is no such link.
        NotFound,
    }
}
