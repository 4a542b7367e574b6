//! Cursors: where the next page of a list begins, as an opaque text that fits no other filter and no other order.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use waypost_protocol::codec::{decode_exact, encode};
use waypost_protocol::listing::{ListPosition, Sort, SortKey, SortValue};

use crate::http::problem::Problem;

/// The form of cursors. A later version may have another one, and refuses those of this one.
const VERSION: u8 = 1;

/// The place behind which a page begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::http) struct Cursor {
    version: u8,
    /// Identifies filter and order.
    print: u64,
    pub(in crate::http) after: ListPosition,
}

impl Cursor {
    /// The text of a cursor; `print` identifies filter and order.
    pub(in crate::http) fn write(print: u64, after: ListPosition) -> String {
        URL_SAFE_NO_PAD.encode(encode(&Self { version: VERSION, print, after }))
    }

    /// Reads a cursor that comes back. Everything in it is checked: a client may have written it.
    pub(super) fn read(text: &str, sort: Sort, print: u64) -> Result<Self, Problem> {
        let read = || {
            let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
            decode_exact::<Self>(&bytes).ok().filter(|cursor| encode(cursor) == bytes)
        };
        let cursor = read().filter(|cursor| cursor.version == VERSION).ok_or_else(|| {
            Problem::invalid("cursor", "cursor has to be the nextCursor of an earlier answer, unchanged")
        })?;
        let fits = match sort.key {
            SortKey::Title | SortKey::Slug => matches!(cursor.after.value, SortValue::Text(_)),
            SortKey::CreatedAt | SortKey::EditedAt | SortKey::Visits | SortKey::LastVisit => {
                matches!(cursor.after.value, SortValue::Number(_))
            }
        };
        if cursor.print != print || !fits {
            return Err(Problem::invalid(
                "cursor",
                "the cursor belongs to a list with another filter or order; send the parameters of the request that it comes from, \
                 or begin without a cursor",
            ));
        }
        Ok(cursor)
    }
}

#[cfg(test)]
mod tests {
    use waypost_protocol::KeyHash;

    use super::*;

    const NEWEST: Sort = Sort { key: SortKey::CreatedAt, descending: true };

    fn position(value: SortValue) -> ListPosition {
        ListPosition { value, hash: KeyHash(7) }
    }

    #[test]
    fn a_cursor_comes_back_as_it_went_and_fits_a_url() {
        let by_title = Sort { key: SortKey::Title, descending: false };
        for (sort, value) in
            [(NEWEST, SortValue::Number(u64::MAX)), (by_title, SortValue::Text("ä\0 \"&=".repeat(300)))]
        {
            let text = Cursor::write(9, position(value.clone()));
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')), "{text}");
            assert_eq!(Cursor::read(&text, sort, 9).unwrap().after, position(value));
        }
    }

    #[test]
    fn a_cursor_of_another_list_or_of_nobody_is_refused() {
        let number = || position(SortValue::Number(1));
        let refused = |text: &str, print| Cursor::read(text, NEWEST, print).unwrap_err();
        let (own, text) = (Cursor::write(9, number()), Cursor::write(9, position(SortValue::Text("1".to_owned()))));
        assert!(refused(&own, 8).to_string().contains("another filter or order"));
        assert!(refused(&text, 9).to_string().contains("another filter or order"));
        let later = URL_SAFE_NO_PAD.encode(encode(&Cursor { version: 2, print: 9, after: number() }));
        let mut longer = own.clone();
        longer.push_str("AAAA");
        for text in ["", "x", "AAAA", "ä", "../..", &own[1..], &longer, &later, &"A".repeat(20_000)] {
            assert!(refused(text, 9).to_string().contains("nextCursor"), "{text}");
        }
    }
}
