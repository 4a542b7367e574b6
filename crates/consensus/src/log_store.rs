//! The log of a group, as openraft asks for it, on the store's log.
//!
//! `append` answers as soon as the entries can be read; the callback is called by a commit thread once they are durable,
//! together with those of all other groups. Vote and log go into the same store in the order in which they come.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use parking_lot::Mutex;
use waypost_store::{CommitHandle, LogStore};

use crate::format::{bytes, decode_entry, decode_log_id, decode_vote, encode_entry, encode_log_id, encode_vote, parse};
use crate::limits::{READ_BYTES, READ_ENTRIES, RECENT_MAX};
use crate::retention::Mark;
use crate::types::{Entry, LogId, TypeConfig, Vote};

const VOTE: &str = "vote";
const PURGED: &str = "purged";
const COMMITTED: &str = "committed";
const MARKS: &str = "marks";

#[derive(Clone)]
pub(crate) struct RaftLog {
    store: LogStore,
    commit: CommitHandle,
    recent: Arc<Mutex<VecDeque<Entry>>>,
}

impl RaftLog {
    pub(crate) fn new(store: LogStore, commit: CommitHandle) -> Self {
        Self { store, commit, recent: Arc::default() }
    }

    pub(crate) fn store(&self) -> &LogStore {
        &self.store
    }

    /// The last entry that was purged.
    pub(crate) fn purged(&self) -> io::Result<Option<LogId>> {
        self.meta(PURGED, decode_log_id)
    }

    /// The id of the entry with an index.
    pub(crate) fn id_at(&self, index: u64) -> io::Result<Option<LogId>> {
        Ok(self.read(index, index + 1)?.first().map(|entry| entry.log_id))
    }

    /// Removes the entries up to one and with it. The note comes first: entries that are still there after a crash count as
    /// purged, and `recover` removes them.
    pub(crate) fn purge_to(&self, upto: &LogId) -> io::Result<()> {
        self.store.put_meta(PURGED, &encode_log_id(upto)).map_err(io::Error::other)?;
        self.recent.lock().retain(|entry| entry.log_id.index > upto.index);
        self.store.purge_to(upto.index).map_err(io::Error::other)
    }

    /// Notes where the log may be cut. Not flushed: a mark that is lost keeps some log for longer.
    pub(crate) fn note_marks(&self, marks: &[Mark]) -> io::Result<()> {
        self.store.put_meta(MARKS, &bytes(&marks)).map_err(io::Error::other)
    }

    /// What was noted last.
    pub(crate) fn marks(&self) -> io::Result<Vec<Mark>> {
        Ok(self.meta(MARKS, |bytes| parse("marks", bytes))?.unwrap_or_default())
    }

    fn meta<T>(&self, name: &str, parse: impl FnOnce(&[u8]) -> io::Result<T>) -> io::Result<Option<T>> {
        self.store.get_meta(name).map_err(io::Error::other)?.map(|bytes| parse(&bytes)).transpose()
    }

    /// The entries of `start..end` that are still in memory, if all of them are.
    fn recent(&self, start: u64, end: u64) -> Option<Vec<Entry>> {
        let mut recent = self.recent.lock();
        while recent.front().is_some_and(|entry| entry.log_id.index < start) {
            recent.pop_front();
        }
        let first = recent.front()?.log_id.index;
        let last = recent.back()?.log_id.index;
        (first == start && end <= last + 1).then(|| recent.iter().take((end - start) as usize).cloned().collect())
    }

    fn read(&self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        if start >= end {
            return Ok(Vec::new());
        }
        if let Some(entries) = self.recent(start, end) {
            return Ok(entries);
        }
        let stored = self.store.read(start..end, READ_BYTES).map_err(io::Error::other)?;
        stored.into_iter().map(|(index, bytes)| decode_entry(index, &bytes)).collect()
    }

    fn bounds(&self, range: impl RangeBounds<u64>) -> io::Result<(u64, u64)> {
        let start = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index + 1,
            Bound::Unbounded => self.store.first_index().map_err(io::Error::other)?.unwrap_or(0),
        };
        let end = match range.end_bound() {
            Bound::Included(index) => index + 1,
            Bound::Excluded(index) => *index,
            Bound::Unbounded => self.store.last_index().map_err(io::Error::other)?.map_or(0, |index| index + 1),
        };
        Ok((start, end))
    }
}

impl RaftLogReader<TypeConfig> for RaftLog {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (mut start, end) = self.bounds(range)?;
        let mut entries = Vec::new();
        while start < end {
            let chunk = self.read(start, end)?;
            match chunk.last() {
                Some(last) => start = last.log_id.index + 1,
                None => break,
            }
            entries.extend(chunk);
        }
        Ok(entries)
    }

    async fn entries_stream<R>(&mut self, range: R) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let log = self.clone();
        let bounds = self.bounds(range);
        stream::once(async move { bounds }).flat_map(move |bounds| {
            let log = log.clone();
            match bounds {
                Err(error) => stream::iter(vec![Err(error)]).boxed(),
                Ok((start, end)) => stream::unfold(start, move |start| {
                    let log = log.clone();
                    async move {
                        if start >= end {
                            return None;
                        }
                        match log.read(start, end.min(start + READ_ENTRIES)) {
                            Ok(chunk) => {
                                let next = chunk.last().map_or(end, |last| last.log_id.index + 1);
                                Some((stream::iter(chunk.into_iter().map(Ok).collect::<Vec<_>>()), next))
                            }
                            Err(error) => Some((stream::iter(vec![Err(error)]), end)),
                        }
                    }
                })
                .flatten()
                .boxed(),
            }
        })
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.meta(VOTE, decode_vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end.min(start + READ_ENTRIES))
    }
}

impl RaftLogStorage<TypeConfig> for RaftLog {
    type LogReader = Self;

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let last_purged_log_id = self.purged()?;
        let purged = last_purged_log_id.map(|id| id.index);
        let last_log_id = match self.store.last_index().map_err(io::Error::other)? {
            Some(index) if Some(index) > purged => self.id_at(index)?,
            _ => last_purged_log_id,
        };
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.store.put_meta(VOTE, &encode_vote(vote)).map_err(io::Error::other)?;
        self.commit.wait().await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        // Not flushed: it may fall back, never run ahead, because it comes after the entries in the same store.
        match committed {
            Some(id) => self.store.put_meta(COMMITTED, &encode_log_id(&id)).map_err(io::Error::other),
            None => Ok(()),
        }
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        self.meta(COMMITTED, decode_log_id)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let encoded = entries.iter().map(|entry| (entry.log_id.index, encode_entry(entry)));
        self.store.append(encoded).map_err(io::Error::other)?;
        {
            let mut recent = self.recent.lock();
            recent.extend(entries);
            while recent.len() > RECENT_MAX {
                recent.pop_front();
            }
        }
        self.commit.then(Box::new(move |result| callback.io_completed(result)));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = last.map_or(0, |id| id.index + 1);
        self.recent.lock().retain(|entry| entry.log_id.index < from);
        self.store.truncate_from(from).map_err(io::Error::other)?;
        self.commit.wait().await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.purge_to(&upto)
    }
}
