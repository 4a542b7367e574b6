//! The numbers of messages and requests between nodes, and lists of them that are known at compile time.

/// The number of a message or request on the wire. Never used twice, even after its message was removed ([`RETIRED`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(pub u16);

/// Numbers of removed messages that a release had: an older node may still send them.
pub const RETIRED: &[Kind] = &[
    // The janitor's `sweep`: one round of maintenance at once.
    Kind(0x0501),
];

/// The numbers and names of a list of messages.
#[derive(Debug)]
pub enum Kinds {
    /// The end of the list.
    End,
    /// A message, and those after it.
    Of(Kind, &'static str, &'static Kinds),
}

impl Kinds {
    /// Whether a message with this number is in the list.
    pub const fn contains(&self, kind: Kind) -> bool {
        let mut at = self;
        while let Self::Of(own, _, rest) = at {
            if own.0 == kind.0 {
                return true;
            }
            at = rest;
        }
        false
    }

    const fn has_name(&self, name: &str) -> bool {
        let mut at = self;
        while let Self::Of(_, own, rest) = at {
            if same(own.as_bytes(), name.as_bytes()) {
                return true;
            }
            at = rest;
        }
        false
    }
}

const fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// Whether no number and no name is twice in the lists, and no number is retired.
pub const fn distinct(lists: &[&Kinds]) -> bool {
    let mut list = 0;
    while list < lists.len() {
        let mut at = lists[list];
        while let Kinds::Of(kind, name, rest) = at {
            if is_retired(*kind) || rest.contains(*kind) || rest.has_name(name) {
                return false;
            }
            let mut other = list + 1;
            while other < lists.len() {
                if lists[other].contains(*kind) || lists[other].has_name(name) {
                    return false;
                }
                other += 1;
            }
            at = rest;
        }
        list += 1;
    }
    true
}

const fn is_retired(kind: Kind) -> bool {
    let mut at = 0;
    while at < RETIRED.len() {
        if RETIRED[at].0 == kind.0 {
            return true;
        }
        at += 1;
    }
    false
}

/// The type of a list of messages or requests: `list![A, B]` is `(A, (B, ()))`.
#[macro_export]
macro_rules! list {
    () => { () };
    ($first:ty $(, $rest:ty)* $(,)?) => { ($first, $crate::list![$($rest),*]) };
}

#[cfg(test)]
mod tests {
    use super::*;

    static ONE: Kinds = Kinds::Of(Kind(1), "one", &Kinds::End);
    static TWO_ONE: Kinds = Kinds::Of(Kind(2), "two", &ONE);
    static RENUMBERED: Kinds = Kinds::Of(Kind(2), "other", &Kinds::End);
    static RENAMED: Kinds = Kinds::Of(Kind(3), "two", &Kinds::End);

    #[test]
    fn a_list_contains_its_own_numbers_and_no_other() {
        assert!(TWO_ONE.contains(Kind(1)) && TWO_ONE.contains(Kind(2)) && !TWO_ONE.contains(Kind(3)));
        assert!(!Kinds::End.contains(Kind(0)));
    }

    #[test]
    fn a_number_or_name_that_stands_twice_is_found_within_a_list_and_between_lists() {
        assert!(distinct(&[&TWO_ONE]) && distinct(&[&ONE, &RENAMED, &RENUMBERED]));
        assert!(!distinct(&[&ONE, &TWO_ONE]));
        assert!(!distinct(&[&TWO_ONE, &Kinds::End, &RENUMBERED]));
        assert!(!distinct(&[&TWO_ONE, &RENAMED]));
        static TWICE: Kinds = Kinds::Of(Kind(1), "other", &TWO_ONE);
        assert!(!distinct(&[&TWICE]));
    }

    #[test]
    fn a_number_of_a_message_that_is_gone_is_not_used_again() {
        static SWEEP: Kinds = Kinds::Of(Kind(0x0501), "new", &Kinds::End);
        assert!(!distinct(&[&SWEEP]));
    }
}
