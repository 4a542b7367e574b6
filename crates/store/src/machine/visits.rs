//! The visits of all slots of a shard, in 16 bytes a slot. What does not fit, of a link with very many visits, is kept apart.

use std::collections::HashMap;

use waypost_protocol::UnixMs;
use waypost_protocol::link::Visits;

/// The visits of a slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SlotVisits {
    pub(super) visits: Visits,
    /// Grows when the link is removed or its statistics are reset: what was stored before belongs to another life.
    pub(super) epoch: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Packed {
    epoch: u32,
    total: u32,
    /// The time of the last visit: 48 bits.
    last_low: u32,
    last_high: u16,
    /// `APART`: the visits are in `apart`.
    bots: u16,
}

const _: () = assert!(size_of::<Packed>() == 16);

const APART: u16 = u16::MAX;

/// By slot. Invariant: `apart` has exactly the slots that say so.
#[derive(Debug, Default)]
pub(super) struct SlotsVisits {
    slots: Vec<Packed>,
    apart: HashMap<u32, Visits>,
}

impl SlotsVisits {
    /// So many slots without visits.
    pub(super) fn of(slots: usize) -> Self {
        Self { slots: vec![Packed::default(); slots], apart: HashMap::new() }
    }

    /// The number of slots.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Makes room for so many slots.
    pub(super) fn cover(&mut self, slots: usize) {
        if self.slots.len() < slots {
            self.slots.resize(slots, Packed::default());
        }
    }

    /// The visits of a slot, if there is such a slot.
    pub(super) fn get(&self, slot: u32) -> Option<SlotVisits> {
        self.slots.get(slot as usize).map(|packed| self.unpack(slot, packed))
    }

    /// The visits of a slot; none, if there is no such slot.
    pub(super) fn at(&self, slot: u32) -> SlotVisits {
        self.get(slot).unwrap_or_default()
    }

    /// The epoch of a slot, if there is such a slot.
    pub(super) fn epoch(&self, slot: u32) -> Option<u32> {
        self.slots.get(slot as usize).map(|packed| packed.epoch)
    }

    /// All slots in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = SlotVisits> + '_ {
        self.slots.iter().zip(0..).map(|(packed, slot)| self.unpack(slot, packed))
    }

    /// Sets the visits of a slot; nothing, if there is no such slot.
    pub(super) fn set(&mut self, slot: u32, of: SlotVisits) {
        let Some(packed) = self.slots.get_mut(slot as usize) else { return };
        let SlotVisits { visits, epoch } = of;
        let fitting =
            u32::try_from(visits.total).ok().zip(u16::try_from(visits.bots).ok().filter(|bots| *bots != APART));
        let high = u16::try_from(visits.last.0 >> 32).ok();
        let was_apart = packed.bots == APART;
        match fitting.zip(high) {
            Some(((total, bots), last_high)) => {
                *packed = Packed { epoch, total, last_low: visits.last.0 as u32, last_high, bots };
                if was_apart {
                    self.apart.remove(&slot);
                }
            }
            None => {
                *packed = Packed { epoch, bots: APART, ..Packed::default() };
                self.apart.insert(slot, visits);
            }
        }
    }

    /// About how many bytes of memory they take, without what is reserved for further slots.
    pub(super) fn bytes(&self) -> usize {
        self.slots.len() * size_of::<Packed>() + self.apart.capacity() * size_of::<(u32, Visits)>()
    }

    fn unpack(&self, slot: u32, packed: &Packed) -> SlotVisits {
        let Packed { epoch, total, last_low, last_high, bots } = *packed;
        let visits = match bots {
            APART => self.apart.get(&slot).copied().unwrap_or_default(),
            _ => Visits {
                total: total.into(),
                bots: bots.into(),
                last: UnixMs(u64::from(last_high) << 32 | u64::from(last_low)),
            },
        };
        SlotVisits { visits, epoch }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(total: u64, bots: u64, last: u64, epoch: u32) -> SlotVisits {
        SlotVisits { visits: Visits { total, bots, last: UnixMs(last) }, epoch }
    }

    #[test]
    fn visits_are_as_they_were_set_however_many_there_are() {
        let mut slots = SlotsVisits::of(2);
        for value in [
            of(0, 0, 0, 0),
            of(7, 3, 1_800_000_000_123, 2),
            of(u32::MAX.into(), 65_534, (1 << 48) - 1, u32::MAX),
            of(1 << 32, 0, 1, 1),
            of(1, 65_535, 1, 1),
            of(1, 65_536, 1, 1),
            of(1, 1, 1 << 48, 1),
            of(u64::MAX, u64::MAX, u64::MAX, 9),
            of(1, 1, 1, 1),
        ] {
            slots.set(1, value);
            assert_eq!((slots.get(1), slots.at(1), slots.epoch(1)), (Some(value), value, Some(value.epoch)));
            assert_eq!(slots.iter().collect::<Vec<_>>(), [SlotVisits::default(), value]);
        }
        assert!(slots.apart.is_empty(), "what fits again is not kept apart any more");
    }

    #[test]
    fn a_slot_that_does_not_exist_has_no_visits_and_gets_none() {
        let mut slots = SlotsVisits::default();
        slots.set(0, of(1, 1, 1, 1));
        assert_eq!((slots.len(), slots.get(0), slots.at(0), slots.epoch(0)), (0, None, SlotVisits::default(), None));
        slots.cover(3);
        slots.cover(1);
        assert_eq!((slots.len(), slots.get(2), slots.get(3)), (3, Some(SlotVisits::default()), None));
        assert_eq!(slots.bytes(), 48);
    }
}
