//! What the commands about domains do to the state of group 0.

use waypost_protocol::command::{
    AddDomain, AddDomainOutcome, RemoveDomain, RemoveDomainOutcome, SetDomain, SetDomainOutcome,
};
use waypost_protocol::domain::{CODE_FORMAT, CODE_FORMATS, DOMAINS_MAX, DomainRecord, REMOVED, same_fixed};
use waypost_protocol::properties::Set;
use waypost_protocol::{CodeFormats, Domain, FieldChanges, Fields};

use super::cluster_state::ClusterState;

/// Why a format is not noted.
enum NotNoted {
    TooManyFormats,
    FormatTooClose,
}

/// Notes the format that some settings ask for, to be used from a counter on.
fn note_format(settings: &mut Fields, mut formats: CodeFormats, from: u64) -> Result<(), NotNoted> {
    let asked = CODE_FORMAT.of(settings).unwrap_or_default();
    if !formats.has_room_for(from, &asked) {
        return Err(NotNoted::FormatTooClose);
    }
    formats.change(from, asked).map_err(|_| NotNoted::TooManyFormats)?;
    let mut noted = FieldChanges::default();
    CODE_FORMATS.change(&mut noted, Some(&formats).filter(|formats| **formats != CodeFormats::default()));
    settings.change(&noted);
    Ok(())
}

impl From<NotNoted> for AddDomainOutcome {
    fn from(why: NotNoted) -> Self {
        match why {
            NotNoted::TooManyFormats => Self::TooManyFormats,
            NotNoted::FormatTooClose => Self::FormatTooClose,
        }
    }
}

impl From<NotNoted> for SetDomainOutcome {
    fn from(why: NotNoted) -> Self {
        match why {
            NotNoted::TooManyFormats => Self::TooManyFormats,
            NotNoted::FormatTooClose => Self::FormatTooClose,
        }
    }
}

impl ClusterState {
    pub(super) fn add_domain(&mut self, add: &AddDomain) -> AddDomainOutcome {
        let mut settings = Fields::default();
        settings.change(&add.settings);
        let from = self.next_key;
        let known = self.domains.values_mut().find(|record| record.host.as_ref() == Some(&add.host));
        if let Some(record) = known {
            if record.is_removed() && !same_fixed(&record.settings, &settings) {
                return AddDomainOutcome::DomainFixed;
            }
            // No number gets a code that it had in another format before.
            if let Err(why) = note_format(&mut settings, record.code_formats(), from) {
                return why.into();
            }
            // Perhaps the answer to the same command was lost.
            if !record.is_removed() && record.settings != settings {
                return AddDomainOutcome::DomainExists;
            }
            record.settings = settings;
            return AddDomainOutcome::Done;
        }
        // A new domain has no codes yet, so its format is used for all numbers.
        if let Err(why) = note_format(&mut settings, CodeFormats::default(), 0) {
            return why.into();
        }
        let last = self.domains.last_key_value().map_or(0, |(domain, _)| domain.0);
        let has_default = usize::from(self.domains.contains_key(&Domain::default()));
        if self.domains.len() - has_default >= DOMAINS_MAX {
            return AddDomainOutcome::TooManyDomains { max: DOMAINS_MAX as u32 };
        }
        // Records stay, so a number is never used again.
        let record = DomainRecord { host: Some(add.host.clone()), created_at: self.applied_at, settings };
        self.domains.insert(Domain(last + 1), record);
        AddDomainOutcome::Done
    }

    pub(super) fn set_domain(&mut self, set: &SetDomain) -> SetDomainOutcome {
        let record = match self.domains.get(&set.domain) {
            Some(record) if record.is_removed() => return SetDomainOutcome::NotFound,
            Some(record) => record.clone(),
            // The default domain is there from the beginning.
            None if set.domain == Domain::default() => {
                DomainRecord { host: None, created_at: self.applied_at, settings: Fields::default() }
            }
            None => return SetDomainOutcome::NotFound,
        };
        let mut settings = record.settings.clone();
        settings.change(&set.changes);
        if !same_fixed(&settings, &record.settings) {
            return SetDomainOutcome::DomainFixed;
        }
        if let Err(why) = note_format(&mut settings, record.code_formats(), self.next_key) {
            return why.into();
        }
        self.domains.insert(set.domain, DomainRecord { settings, ..record });
        SetDomainOutcome::Done
    }

    pub(super) fn remove_domain(&mut self, remove: &RemoveDomain) -> RemoveDomainOutcome {
        // One that was removed before: perhaps the answer to the same command was lost.
        let record = self.domains.get_mut(&remove.domain).filter(|record| record.host.is_some());
        let Some(record) = record else { return RemoveDomainOutcome::NotFound };
        let mut removed = FieldChanges::default();
        REMOVED.change(&mut removed, Some(&Set));
        record.settings.change(&removed);
        RemoveDomainOutcome::Done
    }
}
