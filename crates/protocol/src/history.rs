//! The history of a link: the targets that it had, and which edits changed what.

use serde::{Deserialize, Serialize};

use crate::fields::Tag;
use crate::{Link, LinkSpec, Target, UnixMs};

/// The most changes of the target that a history has after its first entry: more than anybody looks through.
pub const TARGETS_MAX: usize = 32;

/// The most edits of other fields: they have a bound of their own, so that a program that edits a tag every day drops no target.
pub const OTHERS_MAX: usize = 32;

/// The largest encoded history. It has room for the first target and the last one, each of the longest, and for what [`OTHERS_MAX`]
/// edits usually are. With targets of a hundred bytes, the other bounds are reached first.
pub const HISTORY_BYTES_MAX: usize = 20 * 1024;

/// In [`HistoryEntry::changed`]: the end of the link. It has no tag, and no property has this one.
pub const VALID_UNTIL: Tag = 0;

/// What one edit changed, or how the link was before the first one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// The version of the link that the edit made. It identifies the entry.
    pub version: u32,
    /// The time of the edit; `None` = not known.
    pub at: Option<UnixMs>,
    /// The number of the API key of the editor, 0 = open access; `None` = not known.
    pub by: Option<u32>,
    /// The new target; `None` = it was not changed.
    pub target: Option<Target>,
    /// The tags of the other fields that were changed, in their order.
    pub changed: Vec<Tag>,
}

/// The entries of a link, oldest first.
///
/// Invariants: the first has a target, and stays as long as the link; the target of a later one that has none is that of the nearest entry
/// before it that has one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct History(Vec<HistoryEntry>);

impl HistoryEntry {
    /// How a link is, before an edit that is recorded. When that came to be is known of a new link only.
    fn first(link: &Link) -> Self {
        let new = link.version == 1;
        Self {
            version: link.version,
            at: new.then_some(link.created_at),
            by: new.then_some(link.created_by),
            target: Some(link.spec.target.clone()),
            changed: Vec::new(),
        }
    }
}

impl History {
    /// The entries, oldest first.
    pub fn entries(&self) -> &[HistoryEntry] {
        &self.0
    }

    /// The history to show of a link: what is recorded, or what is known of a link that was never edited.
    #[must_use]
    pub fn or_first(self, link: &Link) -> Self {
        if self.0.is_empty() { Self(vec![HistoryEntry::first(link)]) } else { self }
    }

    /// The entries with the target that the link had after each, oldest first.
    pub fn targets(&self) -> impl Iterator<Item = (&HistoryEntry, &Target)> {
        let mut target = None;
        self.0.iter().filter_map(move |entry| {
            target = entry.target.as_ref().or(target);
            Some((entry, target?))
        })
    }

    /// The target that the link had after the edit that made a version.
    pub fn target_at(&self, version: u32) -> Option<&Target> {
        self.targets().find(|(entry, _)| entry.version == version).map(|(_, target)| target)
    }

    /// Records an edit that made `new` of `old`. Nothing is recorded of one that changed nothing. Returns whether it was recorded.
    pub fn record(&mut self, old: &Link, new: &Link, at: UnixMs, by: Option<u32>) -> bool {
        let changed = changed_fields(&old.spec, &new.spec);
        let target = (old.spec.target != new.spec.target).then(|| new.spec.target.clone());
        if changed.is_empty() && target.is_none() {
            return false;
        }
        if self.0.is_empty() {
            self.0.push(HistoryEntry::first(old));
        }
        self.0.push(HistoryEntry { version: new.version, at: Some(at), by, target, changed });
        self.bound();
        true
    }

    /// Drops the oldest entries beyond the bounds, except for the first.
    fn bound(&mut self) {
        let later = |history: &Self, targets: bool| {
            history.0.iter().skip(1).filter(|entry| entry.target.is_some() == targets).count()
        };
        while later(self, true) > TARGETS_MAX {
            self.drop_oldest();
        }
        while later(self, false) > OTHERS_MAX {
            self.drop_other();
        }
        while self.bytes() > HISTORY_BYTES_MAX && self.0.len() > 2 {
            self.drop_oldest();
        }
    }

    /// The number of bytes when it is encoded.
    pub fn bytes(&self) -> usize {
        postcard::serialize_with_flavor(self, postcard::ser_flavors::Size::default())
            .expect("invariant: a history has no shape that postcard refuses")
    }

    /// Drops the entries between the first and the next one with a target, which would show another target without them; if there is no
    /// such entry, the oldest edit of another field.
    fn drop_oldest(&mut self) {
        match self.0.iter().skip(2).position(|entry| entry.target.is_some()) {
            Some(between) => drop(self.0.drain(1..between + 2)),
            None => self.drop_other(),
        }
    }

    fn drop_other(&mut self) {
        if let Some(at) = self.0.iter().position(|entry| entry.target.is_none()) {
            self.0.remove(at);
        }
    }
}

/// The tags of the fields other than the target in which two specifications differ, in their order.
pub fn changed_fields(old: &LinkSpec, new: &LinkSpec) -> Vec<Tag> {
    let mut changed: Vec<Tag> = (old.valid_until != new.valid_until).then_some(VALID_UNTIL).into_iter().collect();
    let differs = |tag: &Tag| old.fields.get(*tag) != new.fields.get(*tag);
    changed.extend(old.fields.iter().chain(new.fields.iter()).map(|(tag, _)| tag).filter(differs));
    changed.sort_unstable();
    changed.dedup();
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Code, LinkKey};

    fn link(version: u32, target: &str, fields: &[(Tag, &str)]) -> Link {
        let mut spec = LinkSpec::to(Target::parse(target, &[], 8192).unwrap());
        fields.iter().for_each(|(tag, value)| spec.fields.set(*tag, Some(value.as_bytes().to_vec())));
        Link {
            key: LinkKey::new(Code::parse_slug("code").unwrap()),
            spec,
            created_at: UnixMs(7),
            version,
            written_at: 9,
            created_by: 1,
            generated: false,
        }
    }

    /// Edits a link to these targets in turn; `None` = only another field.
    fn edited(targets: impl IntoIterator<Item = Option<String>>) -> (History, Link) {
        let (mut history, mut now) = (History::default(), link(1, "https://a.b/first", &[]));
        for (at, target) in targets.into_iter().enumerate() {
            let mut next = now.clone();
            next.version += 1;
            match target {
                Some(target) => next.spec.target = Target::parse(&target, &[], 8192).unwrap(),
                None => next.spec.fields.set(16, Some(at.to_string().into_bytes())),
            }
            assert!(history.record(&now, &next, UnixMs(100 + at as u64), Some(0)));
            now = next;
            assert_eq!(history.target_at(now.version), Some(&now.spec.target));
        }
        (history, now)
    }

    fn to(number: usize) -> Option<String> {
        Some(format!("https://a.b/{number}"))
    }

    #[test]
    fn the_first_entry_is_how_the_link_was_created() {
        let (history, now) = edited([to(2)]);
        let first = HistoryEntry::first(&link(1, "https://a.b/first", &[]));
        assert_eq!((first.at, first.by), (Some(UnixMs(7)), Some(1)));
        let last = HistoryEntry {
            version: 2,
            at: Some(UnixMs(100)),
            by: Some(0),
            target: Some(now.spec.target.clone()),
            changed: vec![],
        };
        assert_eq!(history.entries(), [first, last]);
        // A link that was edited before histories: nobody knows when, and by whom.
        let (mut history, old) = (History::default(), link(5, "https://a.b/", &[]));
        assert!(history.record(&old, &link(6, "https://a.b/2", &[]), UnixMs(8), None));
        let first = &history.entries()[0];
        assert_eq!((first.version, first.at, first.by), (5, None, None));
    }

    #[test]
    fn an_entry_names_the_fields_that_differ_and_an_edit_without_effect_has_none() {
        let mut history = History::default();
        let (old, mut new) = (link(1, "https://a.b/", &[(16, "a"), (17, "b")]), link(2, "https://a.b/", &[]));
        assert!(!history.record(&old, &link(2, "https://a.b/", &[(16, "a"), (17, "b")]), UnixMs(1), None));
        assert_eq!(history, History::default());
        new.spec.fields.set(17, Some(b"c".to_vec()));
        new.spec.fields.set(200, Some(b"of a later version".to_vec()));
        new.spec.valid_until = Some(UnixMs(5));
        assert!(history.record(&old, &new, UnixMs(1), None));
        let entry = &history.entries()[1];
        assert_eq!((&entry.target, &entry.changed[..]), (&None, &[VALID_UNTIL, 16, 17, 200][..]));
        assert_eq!(history.target_at(2), Some(&old.spec.target));
        assert_eq!(history.target_at(3), None);
    }

    #[test]
    fn the_first_target_and_the_last_ones_stay() {
        let (history, _) = edited((2..=100).map(to));
        let versions: Vec<u32> = history.entries().iter().map(|entry| entry.version).collect();
        assert_eq!(versions, std::iter::once(1).chain(69..=100).collect::<Vec<_>>());
        assert_eq!(versions.len(), 1 + TARGETS_MAX);
    }

    #[test]
    fn edits_of_other_fields_drop_no_target_and_go_with_the_target_that_they_had() {
        // Two targets, and a hundred edits after each.
        let others = || std::iter::repeat_n(None, 100);
        let (history, _) = edited(others().chain([to(2)]).chain(others()).chain([to(3)]).chain([None]));
        let targets = history.entries().iter().filter(|entry| entry.target.is_some()).count();
        assert_eq!((targets, history.entries().len()), (3, 3 + OTHERS_MAX));
        let shown: Vec<(u32, &str)> = history.targets().map(|(entry, to)| (entry.version, to.as_str())).collect();
        assert_eq!(shown[0], (1, "https://a.b/first"));
        assert_eq!(shown[1], (102, "https://a.b/2"));
        assert_eq!(shown[2], (172, "https://a.b/2"), "the 31 last edits of that target, and the one of the next");
        assert_eq!(shown[shown.len() - 1], (204, "https://a.b/3"));
        let (history, now) = edited(others().chain((2..=40).map(to)));
        assert_eq!(history.entries().len(), 1 + TARGETS_MAX);
        assert_eq!(history.target_at(now.version), Some(&now.spec.target));
    }

    #[test]
    fn a_history_of_the_longest_targets_has_the_first_and_the_last() {
        let long = |number: usize| Some(format!("https://a.b/{number}{}", "x".repeat(8100)));
        let (history, now) = edited([None, long(1), None, long(2), None]);
        assert!(history.bytes() <= HISTORY_BYTES_MAX);
        assert_eq!(history.target_at(1).map(Target::as_str), Some("https://a.b/first"));
        assert_eq!(history.target_at(now.version), Some(&now.spec.target));
        let (mut history, mut now) = (History::default(), link(1, &long(0).unwrap(), &[]));
        for number in 1..10 {
            let next = link(number as u32 + 1, &long(number).unwrap(), &[(16, &number.to_string())]);
            history.record(&now, &next, UnixMs(1), None);
            now = next;
            assert!(history.bytes() <= HISTORY_BYTES_MAX);
            let kept: Vec<u32> = history.entries().iter().map(|entry| entry.version).collect();
            assert_eq!(kept, [1, now.version]);
        }
    }

    #[test]
    fn a_history_keeps_its_bytes() {
        let (history, _) = edited([to(2), None]);
        let bytes = postcard::to_stdvec(&history).unwrap();
        let expected = [
            &[3, 1, 1, 7, 1, 1, 1, 17][..],
            b"https://a.b/first",
            &[0, 2, 1, 100, 1, 0, 1, 13],
            b"https://a.b/2",
            &[0, 3, 1, 101, 1, 0, 0, 1, 16],
        ];
        assert_eq!(bytes, expected.concat());
        assert_eq!(postcard::from_bytes::<History>(&bytes), Ok(history));
    }
}
