//! Writes links of a shard to the catalog: those that have changed, or the next part of all.

use waypost_catalog::{Catalog, CatalogError, ShardBatch};
use waypost_consensus::Group;
use waypost_protocol::{KeyHash, ShardId};
use waypost_store::StoreError;
use waypost_store::machine::{Changed, LinkNow, Scanned, ShardMachine};

/// The links that are read and written together.
const LINKS_AT_ONCE: usize = 500;

/// The bytes of links that are read together, about: most are a few hundred, some 20 KiB.
const BYTES_AT_ONCE: usize = 1 << 20;

/// The blocks of a shard that are read before they are written: some thousand links, 1.5 MiB at most.
const BLOCKS_AT_ONCE: usize = 64;

/// Why a round ended early.
pub(super) enum Trouble {
    Catalog(CatalogError),
    /// The files of the open catalog are not where they were.
    Moved,
    /// A reader has found damage.
    Damage(String),
    /// The store has failed, which stops the process.
    Store,
}

impl From<CatalogError> for Trouble {
    fn from(error: CatalogError) -> Self {
        Self::Catalog(error)
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::Catalog(error.into())
    }
}

impl From<StoreError> for Trouble {
    fn from(_: StoreError) -> Self {
        Self::Store
    }
}

/// What follows after a part of a scan.
pub(super) enum Step {
    /// The next part.
    GoesOn(u32),
    /// All links were read.
    Clears,
    /// Anything may have changed: it begins again.
    Again,
    /// The catalog has the whole shard, up to this index of its log.
    Done(u64),
}

/// Writes links of a shard as they are now; `position` is the index of its log at which they have all changes. What cannot be written is told
/// as changed again.
pub(super) fn write_changes(
    catalog: &Catalog,
    group: &Group<ShardMachine>,
    shard: ShardId,
    mut keys: Vec<KeyHash>,
    position: Option<u64>,
) -> Result<(), Trouble> {
    keys.sort_unstable();
    keys.dedup();
    let write = || {
        let mut left = &keys[..];
        loop {
            let batch = batch_of(group, shard, &mut left)?;
            let is_last = left.is_empty();
            if !keys.is_empty() || position.is_some() {
                catalog.write(&ShardBatch { position: position.filter(|_| is_last), ..batch })?;
            }
            if is_last {
                return Ok(());
            }
        }
    };
    let written: Result<(), Trouble> = write();
    if written.is_err() {
        group.read_in_turn(|machine| machine.put_back_changes(Changed::Links(keys)));
    }
    written
}

/// The first links with these keys, as they are now. Takes their keys off the front.
fn batch_of(group: &Group<ShardMachine>, shard: ShardId, keys: &mut &[KeyHash]) -> Result<ShardBatch, Trouble> {
    let mut batch = ShardBatch::of(shard);
    let (mut links, mut bytes) = (0, 0);
    while let Some((key, left)) = keys.split_first()
        && links < LINKS_AT_ONCE
        && bytes < BYTES_AT_ONCE
    {
        match group.read_in_turn(|machine| machine.by_hash(*key))? {
            Some(now) => {
                bytes += now.link.spec.target.as_str().len() + now.link.spec.fields.bytes();
                batch.changed.push(row_of(now));
            }
            None => batch.removed.push(*key),
        }
        (links, *keys) = (links + 1, left);
    }
    Ok(batch)
}

fn row_of(LinkNow { link, counts, edited_at }: LinkNow) -> waypost_catalog::Changed {
    waypost_catalog::Changed { link, counts, edited_at }
}

/// Reads the next blocks of a shard, and what has changed meanwhile. Returns what is left to do, and how many links were read.
pub(super) fn scan_step(
    catalog: &Catalog,
    group: &Group<ShardMachine>,
    shard: ShardId,
    mut next: u32,
) -> Result<(Step, u64), Trouble> {
    match group.read_in_turn(ShardMachine::take_changes) {
        Changed::Links(keys) => write_changes(catalog, group, shard, keys, None)?,
        Changed::Anything => return Ok((Step::Again, 0)),
    }
    let mut batch = ShardBatch::of(shard);
    let mut end = None;
    for _ in 0..BLOCKS_AT_ONCE {
        // At the end, what is in no block and what has changed have to be of one moment.
        let (scanned, changed) = group.read_in_turn(|machine| {
            let scanned = machine.scan(next)?;
            let changed = matches!(scanned, Scanned::Rest(_)).then(|| machine.take_changes());
            Ok::<_, StoreError>((scanned, changed))
        })?;
        match (scanned, changed) {
            (Scanned::Block { links, next: behind }, _) => {
                batch.changed.extend(links.into_iter().map(row_of));
                next = behind;
            }
            (Scanned::Rest(rest), Some(Changed::Links(changed))) => {
                end = Some([rest, changed].concat());
                break;
            }
            (Scanned::Rest(_), _) => return Ok((Step::Again, 0)),
        }
    }
    let mut read = batch.changed.len() as u64;
    if !batch.changed.is_empty() {
        catalog.write(&batch)?;
    }
    let Some(keys) = end else { return Ok((Step::GoesOn(next), read)) };
    read += keys.len() as u64;
    write_changes(catalog, group, shard, keys, None)?;
    Ok((Step::Clears, read))
}

/// One step of the end of a scan: writes the links that have changed meanwhile, and removes some rows of links that the shard does not have.
pub(super) fn clear_step(catalog: &Catalog, group: &Group<ShardMachine>, shard: ShardId) -> Result<Step, Trouble> {
    let (changed, index) = group.read_with_index(|machine, index| (machine.take_changes(), index));
    let Changed::Links(keys) = changed else { return Ok(Step::Again) };
    write_changes(catalog, group, shard, keys, None)?;
    Ok(if catalog.finish_scan(shard, index)? { Step::Done(index) } else { Step::Clears })
}
