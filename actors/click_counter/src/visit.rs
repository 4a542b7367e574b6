//! One visit as it is stored in the journal: three words, and its texts of variable size.
//!
//! ```text
//! word 0   hash of the link's key
//! word 1   time in milliseconds (48 bits) · country, two letters (16)
//! word 2   visitor's register (20) · language, two letters (16) · browser (8) · system (6) · device (4) · flags (6) · journal (4)
//! text     of a link: referrer host, line feed, city.  Of an orphan: its path
//! ```

use waypost_protocol::sketch::Register;
use waypost_protocol::{KeyHash, UnixMs};

use crate::agent::Agent;

const BOT: u64 = 1 << 4;
const ORPHAN: u64 = 1 << 5;
const PERSON_UNKNOWN: u64 = 1 << 6;

/// One redirect that was sent, or an orphan visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visit {
    /// The link; `None` for an orphan visit.
    pub link: Option<KeyHash>,
    /// The time of the visit.
    pub at: UnixMs,
    /// The class of the user agent.
    pub agent: Agent,
    /// The country: two letters, or zeros.
    pub country: [u8; 2],
    /// The preferred language: two letters, or zeros.
    pub language: [u8; 2],
    /// The register of the visitor in a sketch; `None` if the visitor must not be counted.
    pub visitor: Option<Register>,
}

impl Visit {
    /// Encodes the visit as words for the journal.
    pub(crate) fn words(&self) -> [u64; 3] {
        let two = |letters: [u8; 2]| u64::from(u16::from_be_bytes(letters));
        let flags = if self.agent.bot { BOT } else { 0 }
            | if self.link.is_none() { ORPHAN } else { 0 }
            | if self.visitor.is_none() { PERSON_UNKNOWN } else { 0 };
        [
            self.link.map_or(0, |link| link.0),
            self.at.0 << 16 | two(self.country),
            u64::from(self.visitor.map_or(0, |register| register.0 & 0xF_FFFF)) << 44
                | two(self.language) << 28
                | u64::from(self.agent.browser) << 20
                | u64::from(self.agent.os & 63) << 14
                | u64::from(self.agent.device & 15) << 10
                | flags,
        ]
    }

    /// Decodes words of the journal.
    pub(crate) fn of(words: [u64; 3]) -> Self {
        let [link, time, rest] = words;
        let two = |bits: u64| (bits as u16).to_be_bytes();
        Self {
            link: (rest & ORPHAN == 0).then_some(KeyHash(link)),
            at: UnixMs(time >> 16),
            agent: Agent {
                bot: rest & BOT != 0,
                browser: (rest >> 20) as u8,
                os: (rest >> 14 & 63) as u8,
                device: (rest >> 10 & 15) as u8,
            },
            country: two(time),
            language: two(rest >> 28),
            visitor: (rest & PERSON_UNKNOWN == 0).then_some(Register((rest >> 44) as u32)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_visit_comes_out_of_the_journal_as_it_went_in(
            link in prop::option::of(any::<u64>()),
            at in 0u64..1 << 48,
            (bot, browser, os, device) in (any::<bool>(), any::<u8>(), 0u8..64, 0u8..16),
            (country, language) in any::<([u8; 2], [u8; 2])>(),
            hash in prop::option::of(any::<u64>()),
        ) {
            let visit = Visit {
                link: link.map(KeyHash),
                at: UnixMs(at),
                agent: Agent { bot, browser, os, device },
                country,
                language,
                visitor: hash.map(Register::of),
            };
            let [one, two, three] = visit.words();
            prop_assert_eq!(three & 15, 0, "these bits are the journal's");
            prop_assert_eq!(Visit::of([one, two, three]), visit);
        }
    }
}
