//! The bytes of a batch of clicks in the log since level 3. Nodes record some hundred thousand clicks a second at most, so what nearly all clicks of a
//! batch have in common stands once in front, and a click takes 9 to 14 bytes.
//!
//! ```text
//! batch   = node · spans · strings · orphans (postcard) · profiles (postcard: bot, values) · hour (varint) · last (varint) · count (varint) · { click }*
//! click   = hash of the link's key (8 bytes) · shape u8 · [hour] · [last − its last] · [tallies] · [profile] · [count] · [visitors] · { register (3 bytes) }*
//! shape   = 1: another hour · 2: the time of the last visit is known · 4: not one tally · 8: another profile than the click before · 16: not one visit
//!           · 32, 64: none, one or two visitors, or 3: their number follows
//! tallies = count (varint) · { profile (varint) · visits (varint) }*
//! ```
//!
//! What is in brackets is a varint that is there if the shape says so.

use std::collections::HashMap;

use smallvec::SmallVec;

use crate::clicks::{ClickBatch, ClickDelta, Dimension, Tallies, Tally, Visitors};
use crate::sketch::Register;
use crate::{KeyHash, UnixMs};

const OTHER_HOUR: u8 = 1;
const HAS_LAST: u8 = 2;
const SEVERAL_TALLIES: u8 = 4;
const OTHER_PROFILE: u8 = 8;
const OTHER_COUNT: u8 = 16;
const VISITORS_SHIFT: u8 = 5;
const MANY_VISITORS: u8 = 3;

/// Bytes that are no batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no batch of clicks")]
pub(crate) struct NoBatch;

type Values = [u16; Dimension::COUNT];
type Profile = (bool, Values);

/// Appends the bytes of a batch.
pub(crate) fn encode(batch: &ClickBatch, to: &mut Vec<u8>) {
    let ClickBatch { node, spans, strings, deltas, orphans } = batch;
    let (profiles, numbers) = profiles(deltas);
    to.reserve(deltas.len() * 16);
    let head = postcard::to_stdvec(&(node, spans, strings, orphans, profiles));
    to.extend(head.expect("invariant: a batch has no shape that postcard refuses"));
    let hour = deltas.first().map_or(0, |delta| delta.hour);
    let last = deltas.iter().map(|delta| delta.last.0).max().unwrap_or(0);
    put(to, hour.into());
    put(to, last);
    put(to, deltas.len() as u64);
    let mut numbers = numbers.into_iter();
    let mut before = 0;
    for delta in deltas {
        encode_delta(delta, hour, last, &mut numbers, &mut before, to);
    }
}

/// The different profiles of the tallies, and the number of that of each tally.
fn profiles(deltas: &[ClickDelta]) -> (Vec<Profile>, Vec<u64>) {
    let (mut profiles, mut known): (Vec<Profile>, HashMap<Profile, u64>) = Default::default();
    let mut of_tallies: Vec<u64> = Vec::with_capacity(deltas.len());
    for tally in deltas.iter().flat_map(|delta| &delta.tallies) {
        let profile = (tally.bot, tally.values);
        // Most visits have the profile of the one before.
        let number = match of_tallies.last() {
            Some(last) if profiles[*last as usize] == profile => *last,
            _ => *known.entry(profile).or_insert_with(|| {
                profiles.push(profile);
                profiles.len() as u64 - 1
            }),
        };
        of_tallies.push(number);
    }
    (profiles, of_tallies)
}

fn encode_delta(
    delta: &ClickDelta,
    hour: u32,
    last: u64,
    numbers: &mut impl Iterator<Item = u64>,
    before: &mut u64,
    to: &mut Vec<u8>,
) {
    let mut number = || numbers.next().expect("invariant: there is a number for each tally");
    let single = match &delta.tallies[..] {
        [tally] => Some((number(), tally.count)),
        _ => None,
    };
    let visitors = delta.visitors.len();
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    let shape = flag(delta.hour != hour, OTHER_HOUR)
        | flag(delta.last.0 != 0, HAS_LAST)
        | flag(single.is_none(), SEVERAL_TALLIES)
        | flag(single.is_some_and(|(profile, _)| profile != *before), OTHER_PROFILE)
        | flag(single.is_some_and(|(_, count)| count != 1), OTHER_COUNT)
        | (visitors.min(MANY_VISITORS.into()) as u8) << VISITORS_SHIFT;
    to.extend_from_slice(&delta.link.0.to_le_bytes());
    to.push(shape);
    if shape & OTHER_HOUR != 0 {
        put(to, delta.hour.into());
    }
    if shape & HAS_LAST != 0 {
        put(to, last - delta.last.0);
    }
    match single {
        Some((profile, count)) => {
            if shape & OTHER_PROFILE != 0 {
                put(to, profile);
            }
            if shape & OTHER_COUNT != 0 {
                put(to, count.into());
            }
            *before = profile;
        }
        None => {
            put(to, delta.tallies.len() as u64);
            for tally in &delta.tallies {
                put(to, number());
                put(to, tally.count.into());
            }
        }
    }
    if shape >> VISITORS_SHIFT == MANY_VISITORS {
        put(to, visitors as u64);
    }
    for register in &delta.visitors {
        to.extend_from_slice(&register.0.to_le_bytes()[..3]);
    }
}

/// Reads a batch at the front of some bytes; returns the bytes behind it, too.
pub(crate) fn decode(bytes: &[u8]) -> Result<(ClickBatch, &[u8]), NoBatch> {
    let (head, rest) = postcard::take_from_bytes(bytes).map_err(|_| NoBatch)?;
    let (node, spans, strings, orphans, profiles): (_, _, _, _, Vec<Profile>) = head;
    let mut from = Bytes(rest);
    let (hour, last, count) = (from.number()?, from.varint()?, from.varint()?);
    // Each takes nine bytes at least.
    let mut deltas = Vec::with_capacity((count as usize).min(from.0.len() / 9));
    let mut before = 0;
    for _ in 0..count {
        deltas.push(decode_delta(&mut from, &profiles, hour, last, &mut before)?);
    }
    Ok((ClickBatch { node, spans, strings, deltas, orphans }, from.0))
}

fn decode_delta(
    from: &mut Bytes<'_>,
    profiles: &[Profile],
    hour: u32,
    last: u64,
    before: &mut u64,
) -> Result<ClickDelta, NoBatch> {
    let link = KeyHash(u64::from_le_bytes(from.array()?));
    let [shape] = from.array()?;
    let has = |flag: u8| shape & flag != 0;
    let hour = if has(OTHER_HOUR) { from.number()? } else { hour };
    let last = if has(HAS_LAST) { last.checked_sub(from.varint()?).ok_or(NoBatch)? } else { 0 };
    let tally = |profile: u64, count: u32| {
        let (bot, values) = *usize::try_from(profile).ok().and_then(|at| profiles.get(at)).ok_or(NoBatch)?;
        Ok(Tally { bot, values, count })
    };
    let mut tallies = Tallies::new();
    if has(SEVERAL_TALLIES) {
        for _ in 0..from.varint()? {
            tallies.push(tally(from.varint()?, from.number()?)?);
        }
    } else {
        if has(OTHER_PROFILE) {
            *before = from.varint()?;
        }
        tallies.push(tally(*before, if has(OTHER_COUNT) { from.number()? } else { 1 })?);
    }
    let many = shape >> VISITORS_SHIFT;
    let many = if many == MANY_VISITORS { from.varint()? } else { many.into() };
    let mut visitors: Visitors = SmallVec::new();
    for _ in 0..many {
        let [one, two, three] = from.array()?;
        visitors.push(Register(u32::from_le_bytes([one, two, three, 0])));
    }
    Ok(ClickDelta { link, hour, last: UnixMs(last), tallies, visitors })
}

/// Whether the bytes can have the batch: a register has 20 bits.
pub(crate) fn can_have(batch: &ClickBatch) -> bool {
    batch.deltas.iter().flat_map(|delta| &delta.visitors).all(|register| register.0 < 1 << 24)
}

fn put(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

/// Bytes that are being read.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], NoBatch> {
        let (array, rest) = self.0.split_first_chunk().ok_or(NoBatch)?;
        self.0 = rest;
        Ok(*array)
    }

    fn varint(&mut self) -> Result<u64, NoBatch> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(NoBatch);
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(NoBatch)
    }

    fn number(&mut self) -> Result<u32, NoBatch> {
        u32::try_from(self.varint()?).map_err(|_| NoBatch)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::NodeId;
    use crate::clicks::{JournalSpan, OrphanDelta};

    fn batch(deltas: Vec<ClickDelta>) -> ClickBatch {
        ClickBatch {
            node: NodeId(300),
            spans: vec![JournalSpan { journal: 5, from: 1, upto: 65 }],
            strings: vec!["de".to_owned(), "/nothing".to_owned()],
            deltas,
            orphans: vec![OrphanDelta { path: 2, count: 3, last: UnixMs(9) }],
        }
    }

    fn delta(link: u64, tallies: &[(bool, u16, u32)], last: u64, visitors: &[u32]) -> ClickDelta {
        let tally = |(bot, value, count): &(bool, u16, u32)| {
            let mut values = Values::default();
            values[0] = *value;
            Tally { bot: *bot, values, count: *count }
        };
        ClickDelta {
            link: KeyHash(link),
            hour: 495_000,
            last: UnixMs(last),
            tallies: tallies.iter().map(tally).collect(),
            visitors: visitors.iter().map(|register| Register(*register)).collect(),
        }
    }

    fn encoded(batch: &ClickBatch) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(batch, &mut bytes);
        bytes
    }

    #[test]
    fn the_bytes_of_a_batch_are_as_documented() {
        let batch = batch(vec![
            delta(0x0102_0304_0506_0708, &[(true, 0, 1)], 0, &[]),
            delta(1, &[(false, 1, 1)], 1000, &[0x0A_BC41]),
            delta(2, &[(false, 1, 2), (true, 0, 300)], 990, &[1, 2, 3]),
            ClickDelta { hour: 495_001, ..delta(3, &[(false, 1, 7)], 1000, &[]) },
            delta(4, &[], 0, &[]),
        ]);
        let hex: String = encoded(&batch).iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = [
            "ac02",
            "01050141",
            "02026465082f6e6f7468696e67",
            "01020309",
            "02",
            "0100000000000000",
            "0001000000000000",
            "989b1e",
            "e807",
            "05",
            "0807060504030201",
            "00",
            "0100000000000000",
            "2a",
            "00",
            "01",
            "41bc0a",
            "0200000000000000",
            "66",
            "0a",
            "02",
            "0102",
            "00ac02",
            "03",
            "010000",
            "020000",
            "030000",
            "0300000000000000",
            "13",
            "999b1e",
            "00",
            "07",
            "0400000000000000",
            "04",
            "00",
        ];
        assert_eq!(hex, expected.concat());
        assert_eq!(decode(&encoded(&batch)), Ok((batch, &[][..])));
    }

    #[test]
    fn a_click_of_a_bot_takes_nine_bytes_and_one_of_a_person_fourteen() {
        let size = |count: u64, of: &dyn Fn(u64) -> ClickDelta| encoded(&batch((0..count).map(of).collect())).len();
        let bot = |link| delta(link, &[(true, 0, 1)], 0, &[]);
        assert_eq!(size(300, &bot) - size(200, &bot), 900);
        let person = |link| delta(link, &[(false, 1, 1)], 1_800_000_000_000 + link, &[7]);
        assert!((1300..=1400).contains(&(size(300, &person) - size(200, &person))));
    }

    fn deltas() -> impl Strategy<Value = Vec<ClickDelta>> {
        let tally = (any::<bool>(), 0u16..4, prop_oneof![Just(1), any::<u32>()]);
        let tallies = prop_oneof![
            3 => prop::collection::vec(tally.clone(), 1),
            1 => prop::collection::vec(tally, 0..5),
        ];
        let register = 0u32..1 << 24;
        let last = prop_oneof![Just(0), 1000u64..2000, any::<u64>()];
        let delta = (
            any::<u64>(),
            tallies,
            last,
            prop::collection::vec(register, 0..6),
            prop_oneof![Just(495_000), any::<u32>()],
        );
        let delta = delta.prop_map(|(link, tallies, last, visitors, hour)| ClickDelta {
            hour,
            ..delta_of(link, &tallies, last, &visitors)
        });
        prop::collection::vec(delta, 0..20)
    }

    fn delta_of(link: u64, tallies: &[(bool, u16, u32)], last: u64, visitors: &[u32]) -> ClickDelta {
        delta(link, tallies, last, visitors)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(deltas in deltas(), behind in prop::collection::vec(any::<u8>(), 0..9)) {
            let batch = batch(deltas);
            prop_assert!(can_have(&batch));
            let bytes = [encoded(&batch), behind.clone()].concat();
            prop_assert_eq!(decode(&bytes), Ok((batch, &behind[..])));
        }

        #[test]
        fn no_bytes_make_it_panic(deltas in deltas(), cut in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = encoded(&batch(deltas));
            prop_assert_eq!(decode(&bytes[..cut.index(bytes.len())]).ok(), None);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = decode(&bytes);
        }
    }
}
