//! Formats of generated codes: their codes, what is mistyped, and what is never issued twice.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const KEY: [u8; 32] = [7; 32];

fn format(alphabet: Alphabet, length: u8, prefix: &str, check: bool) -> CodeFormat {
    CodeFormat::new(alphabet, length, prefix, check).unwrap()
}

#[test]
fn without_a_change_codes_are_what_they_have_always_been() {
    let (formats, permutation) = (CodeFormats::default(), Permutation::new(KEY));
    for counter in [0, 1, 4096, CODES - 1] {
        assert_eq!(formats.code(&KEY, counter), permutation.code(counter));
    }
    assert_eq!(formats.code(&KEY, CODES), None);
}

#[test]
fn each_format_has_golden_codes() {
    let codes = |format: CodeFormat| {
        let mut formats = CodeFormats::default();
        formats.change(0, format).unwrap();
        [0, 1, CODES - 1].map(|counter| formats.code(&KEY, counter).unwrap().to_string())
    };
    assert_eq!(codes(format(Alphabet::Base62, 6, "", false)), ["K2vEBU", "Gsw5Du", "npNeroj"]);
    assert_eq!(codes(format(Alphabet::Base62, 12, "", false)), ["zQz8osoN4qMn", "QdtTvXx9oiP8", "8SbaPZlHi9KY"]);
    assert_eq!(codes(format(Alphabet::Lowercase, 8, "s-", false)), ["s-7iob9cik", "s-mr33f17m", "s-siywfcj8s"]);
    assert_eq!(codes(format(Alphabet::Unambiguous, 8, "", true)), ["6m45ntbed", "8nhz7cfgx", "fwyub669m5"]);
}

#[test]
fn when_the_codes_of_a_length_are_used_up_the_next_are_longer() {
    let six = format(Alphabet::Unambiguous, 6, "", false);
    let last = 31u64.pow(6) - 1;
    assert_eq!(six.code(&KEY, last).unwrap().as_str().len(), 6);
    assert_eq!(six.code(&KEY, last + 1).unwrap().as_str().len(), 7);
    assert_eq!(six.counter(&KEY, six.code(&KEY, last + 1).unwrap().as_str()), Some(last + 1));
}

#[test]
fn impossible_formats_are_refused() {
    let new = |alphabet, length, prefix: &str, check| CodeFormat::new(alphabet, length, prefix, check).unwrap_err();
    assert_eq!(new(Alphabet::Base62, 5, "", false), CodeFormatError::Length(5));
    assert_eq!(new(Alphabet::Base62, 13, "", false), CodeFormatError::Length(13));
    assert_eq!(new(Alphabet::Base62, 7, &"x".repeat(17), false), CodeFormatError::PrefixTooLong);
    for prefix in ["-a", "_", "a/b", "ü", "a b"] {
        assert_eq!(new(Alphabet::Base62, 7, prefix, false), CodeFormatError::PrefixCharacter, "{prefix}");
    }
    assert_eq!(new(Alphabet::Lowercase, 7, "", true), CodeFormatError::CheckAlphabet);
}

/// Small enough that texts of the formats meet: every pair of formats is used, left and used again.
#[test]
fn no_text_is_issued_twice_whatever_formats_follow_each_other() {
    // A text of six characters of one alphabet behind a prefix is a text of seven of the other: a few of the first counters meet.
    let prefixed = || format(Alphabet::Unambiguous, 6, "a", false);
    let mut formats = CodeFormats::default();
    let mut counter = 0;
    for format in [
        CodeFormat::default(),
        prefixed(),
        format(Alphabet::Unambiguous, 7, "", false),
        format(Alphabet::Unambiguous, 6, "", true),
        prefixed(),
        CodeFormat::default(),
    ] {
        formats.change(counter, format).unwrap();
        counter += 10_000;
    }
    let mut seen = HashMap::new();
    for counter in 0..counter {
        if let Some(code) = formats.code(&KEY, counter) {
            assert_eq!(seen.insert(code.clone(), counter), None, "{code} is of {counter} too");
        }
    }
}

#[test]
fn a_text_that_an_earlier_counter_had_in_another_format_is_skipped() {
    // What the default gives to a counter, and a format that gives the same text to a later one.
    let default = CodeFormat::default();
    let (earlier, later, prefix) = (0..200_000)
        .find_map(|counter| {
            let code = default.code(&KEY, counter)?;
            let prefix = code.as_str().get(..1)?.to_owned();
            let later = format(Alphabet::Unambiguous, 6, &prefix, false).counter(&KEY, code.as_str())?;
            (later > counter).then_some((counter, later, prefix))
        })
        .unwrap();
    let mut formats = CodeFormats::default();
    formats.change(earlier + 1, format(Alphabet::Unambiguous, 6, &prefix, false)).unwrap();
    assert!(formats.code(&KEY, earlier).is_some());
    assert_eq!(formats.code(&KEY, later), None);
    // Had the earlier counter been in the new format as well, it would not have had the text.
    let mut formats = CodeFormats::default();
    formats.change(0, format(Alphabet::Unambiguous, 6, &prefix, false)).unwrap();
    assert!(formats.code(&KEY, later).is_some());
}

#[test]
fn a_format_is_changed_a_bounded_number_of_times() {
    let mut formats = CodeFormats::default();
    let other = format(Alphabet::Base62, 8, "", false);
    for change in 0..FORMATS_MAX {
        let format = if change % 2 == 0 { other.clone() } else { CodeFormat::default() };
        formats.change(change as u64, format.clone()).unwrap();
        // The same again is no change.
        formats.change(change as u64, format).unwrap();
    }
    assert_eq!(formats.change(99, other), Err(TooManyFormats));
}

#[test]
fn codes_with_a_check_character_share_their_length_with_no_others() {
    let unchecked = |length| format(Alphabet::Unambiguous, length, "", false);
    let checked = |length, prefix: &str| format(Alphabet::Unambiguous, length, prefix, true);
    let mut formats = CodeFormats::default();
    assert!(formats.has_room_for(0, &checked(6, "")), "no code has been made");
    assert!(!formats.has_room_for(1, &checked(6, "")), "seven characters, as the usual ones");
    assert!(formats.has_room_for(1, &checked(7, "")) && formats.has_room_for(1, &unchecked(7)));
    formats.change(100, checked(8, "")).unwrap();
    assert!(!formats.has_room_for(200, &unchecked(9)), "nine characters, as those that are checked");
    assert!(!formats.has_room_for(200, &format(Alphabet::Base62, 9, "", false)));
    assert!(!formats.has_room_for(200, &checked(6, "ab")), "checked without the prefix");
    assert!(!formats.has_room_for(200, &unchecked(6)), "grows to nine when its codes are used up");
    assert!(formats.has_room_for(200, &checked(9, "")) && formats.has_room_for(200, &unchecked(10)));
    assert!(formats.has_room_for(200, &CodeFormat::default()) && formats.has_room_for(200, &checked(8, "")));
    // A format that was never used is in nobody's way.
    formats.change(200, unchecked(10)).unwrap();
    assert!(formats.has_room_for(200, &checked(9, "ab")));
    assert!(!formats.has_room_for(201, &checked(9, "")), "ten characters");
}

#[test]
fn a_format_says_what_it_is() {
    let one = format(Alphabet::Unambiguous, 9, "p-", true);
    assert_eq!((one.alphabet(), one.length(), one.prefix(), one.has_check()), (Alphabet::Unambiguous, 9, "p-", true));
    let default = CodeFormat::default();
    let of = (default.alphabet(), default.length(), default.prefix(), default.has_check());
    assert_eq!(of, (Alphabet::Base62, 7, "", false));
    let longest = "x".repeat(PREFIX_BYTES_MAX);
    assert_eq!(format(Alphabet::Base62, 6, &longest, false).prefix(), longest);
}

#[test]
fn the_formats_of_a_domain_say_which_is_used_and_from_where_on() {
    let mut formats = CodeFormats::default();
    assert_eq!((formats.current(), formats.begin()), (CodeFormat::default(), 0));
    let eight = format(Alphabet::Lowercase, 8, "", false);
    formats.change(300, eight.clone()).unwrap();
    assert_eq!((formats.current(), formats.begin()), (eight, 300));
    for (counter, length) in [(0, 7), (299, 7), (300, 8), (301, 8)] {
        assert_eq!(formats.code(&KEY, counter).unwrap().as_str().len(), length, "{counter}");
    }
}

#[test]
fn a_text_is_mistyped_only_if_it_is_as_long_as_codes_with_a_check_character_are() {
    // Codes of eight characters are used up before all counters are, so the last ones have nine.
    let checked = format(Alphabet::Unambiguous, 8, "p-", true);
    for (characters, mistyped) in [(7, false), (8, false), (9, true), (10, true), (11, false)] {
        let wrong = format!("p-{}", "0".repeat(characters));
        assert_eq!(checked.is_mistyped(&wrong), mistyped, "{wrong}");
    }
    let right = checked.code(&KEY, 5).unwrap();
    let swapped = format(Alphabet::Unambiguous, 9, "p-", false);
    let mut formats = CodeFormats::default();
    formats.change(0, checked.clone()).unwrap();
    formats.change(9, swapped).unwrap();
    // Also after the format was left.
    assert!(formats.is_mistyped("p-000000000") && !formats.is_mistyped(right.as_str()) && !formats.is_mistyped("p-0"));
    assert!(!CodeFormats::default().is_mistyped("p-000000000"));
    // What is wrong in one format is right in another one.
    let mut both = CodeFormats::default();
    both.change(0, format(Alphabet::Unambiguous, 9, "p", true)).unwrap();
    assert!(both.is_mistyped(right.as_str()));
    both.change(9, checked).unwrap();
    assert!(!both.is_mistyped(right.as_str()));
}

proptest! {
    #[test]
    fn only_the_code_of_a_counter_leads_to_one(
        short in "[23456789abcdefghjkmnpqrstuvwxyz]{6,8}", long in "[0-9A-Za-z]{12}", checked in "[23456789abcdefghjkmnpqrstuvwxyz]{10}",
    ) {
        let six = format(Alphabet::Unambiguous, 6, "", false);
        let twelve = format(Alphabet::Base62, 12, "", false);
        for (format, text) in [(six.clone(), short), (twelve, long), (CodeFormat::new(Alphabet::Unambiguous, 8, "", true).unwrap(), checked)] {
            if let Some(counter) = format.counter(&KEY, &text) {
                prop_assert!(counter < CODES);
                let code = format.code(&KEY, counter).unwrap();
                prop_assert_eq!(code.as_str(), text.as_str());
            }
        }
    }

    #[test]
    fn no_code_has_the_length_of_a_checked_one_unless_it_is_checked_in_the_same_way(
        steps in prop::collection::vec((0usize..3, 6u8..9, "[ab]{0,2}", any::<bool>()), 1..8),
    ) {
        let mut formats = CodeFormats::default();
        let mut codes = Vec::new();
        for (counter, (alphabet, length, prefix, check)) in (0..).zip(steps) {
            let alphabet = [Alphabet::Base62, Alphabet::Lowercase, Alphabet::Unambiguous][alphabet];
            let format = format(alphabet, length, &prefix, check && alphabet == Alphabet::Unambiguous);
            if formats.has_room_for(counter, &format) {
                formats.change(counter, format).unwrap();
            }
            let code = formats.code(&KEY, counter);
            codes.extend(code.map(|code| (code.as_str().len(), formats.current())));
        }
        for (one, of) in codes.iter().filter(|(_, format)| format.has_check()) {
            for (other, by) in &codes {
                let alike = by.has_check() && by.prefix() == of.prefix();
                prop_assert!(alike || one != other, "{of:?} and {by:?}");
            }
        }
    }

    #[test]
    fn codes_lead_back_to_their_counters(
        alphabet in prop_oneof![Just(Alphabet::Base62), Just(Alphabet::Lowercase), Just(Alphabet::Unambiguous)],
        length in LENGTHS,
        prefix in "([a-zA-Z0-9][a-zA-Z0-9_-]{0,3})?",
        check in any::<bool>(),
        counter in 0..CODES,
    ) {
        let format = format(alphabet, length, &prefix, check && alphabet == Alphabet::Unambiguous);
        let code = format.code(&KEY, counter).unwrap();
        prop_assert_eq!(format.counter(&KEY, code.as_str()), Some(counter));
        prop_assert!(Code::from_path(code.as_str()).is_some());
        prop_assert!(!format.is_mistyped(code.as_str()));
    }

    #[test]
    fn one_wrong_character_and_two_swapped_neighbours_are_recognised(
        length in LENGTHS, counter in 0..CODES, at in any::<prop::sample::Index>(), wrong in "[0-9a-zA-Z_-]",
    ) {
        let format = format(Alphabet::Unambiguous, length, "", true);
        let code = format.code(&KEY, counter).unwrap().to_string();
        let at = at.index(code.len());
        let mut typed = code.clone();
        typed.replace_range(at..=at, &wrong);
        prop_assert_eq!(format.is_mistyped(&typed), typed != code);
        let mut swapped = code.clone().into_bytes();
        swapped.swap(at, (at + 1) % code.len());
        let swapped = String::from_utf8(swapped).unwrap();
        prop_assert_eq!(format.is_mistyped(&swapped), swapped != code);
    }
}
