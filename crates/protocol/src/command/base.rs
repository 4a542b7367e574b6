//! The commands of a shard whose encoding at level 0 is another one: what version 0.1 reads and writes.
//!
//! Kept for the logs of data directories from that version, and for clusters that still have a node of it. It never changes.

use serde::Deserialize;

use super::{BatchError, Create, Edit, postcard_bytes};
use crate::digest::IdempotencyKey;
use crate::{FieldChanges, Fields, Level, LinkKey, LinkPatch, LinkSpec, LinkVersion, Target, UnixMs};

/// The number of [`Create`].
pub(super) const CREATE: u8 = 7;
/// The number of [`Edit`].
pub(super) const EDIT: u8 = 8;

#[derive(Deserialize)]
struct BaseCreate {
    key: LinkKey,
    target: Target,
    valid_until: Option<UnixMs>,
    created_by: u32,
    generated: bool,
    find_existing: bool,
    idempotency: Option<(IdempotencyKey, u64)>,
}

#[derive(Deserialize)]
struct BaseEdit {
    key: LinkKey,
    if_version: Option<LinkVersion>,
    target: Option<Target>,
    valid_until: Option<Option<UnixMs>>,
}

/// The bytes of a command without optional fields.
pub(super) fn encode_create(create: &Create) -> Vec<u8> {
    debug_assert_eq!(create.spec.level(), Level::BASE);
    let Create { key, spec, created_by, generated, find_existing, idempotency } = create;
    let LinkSpec { target, valid_until, fields: _ } = spec;
    postcard_bytes(&(CREATE, key, target, valid_until, created_by, generated, find_existing, idempotency))
}

/// As [`encode_create`].
pub(super) fn encode_edit(edit: &Edit) -> Vec<u8> {
    debug_assert_eq!(edit.patch.level(), Level::BASE);
    let Edit { key, if_version, patch, by: _ } = edit;
    let LinkPatch { target, valid_until, fields: _ } = patch;
    postcard_bytes(&(EDIT, key, if_version, target, valid_until))
}

/// Reads what follows the number of a command; answers the bytes after it too.
pub(super) fn take_create(body: &[u8]) -> Result<(Create, &[u8]), BatchError> {
    let (base, rest) = postcard::take_from_bytes::<BaseCreate>(body).map_err(BatchError::damaged)?;
    let BaseCreate { key, target, valid_until, created_by, generated, find_existing, idempotency } = base;
    let spec = LinkSpec { target, valid_until, fields: Fields::default() };
    Ok((Create { key, spec, created_by, generated, find_existing, idempotency }, rest))
}

/// As [`take_create`].
pub(super) fn take_edit(body: &[u8]) -> Result<(Edit, &[u8]), BatchError> {
    let (base, rest) = postcard::take_from_bytes::<BaseEdit>(body).map_err(BatchError::damaged)?;
    let BaseEdit { key, if_version, target, valid_until } = base;
    let patch = LinkPatch { target, valid_until, fields: FieldChanges::default() };
    Ok((Edit { key, if_version, patch, by: None }, rest))
}
