//! A page: the first rows of the tail and of the sealed rows, merged.

use waypost_protocol::LinkKey;
use waypost_protocol::listing::{ListPosition, ListedRow, Matches, PAGE_LINKS_MAX, PageRequest, SortValue};

use crate::error::{CatalogError, RequestError};
use crate::filter::Filter;
use crate::find::{First, Found, View, Wanted, lowest};
use crate::row::Value;
use crate::tail::Tail;
use crate::types::CatalogPage;

/// Finds a page. The tail is dropped when it is not needed any more, so that the writer waits for no search.
pub fn page<G: std::ops::Deref<Target = Tail>>(
    view: &View<'_>,
    tail: G,
    known: &[u32],
    request: &PageRequest,
) -> Result<CatalogPage, CatalogError> {
    let filter = Filter::of(request, known)?;
    let key = request.sort.key;
    if let Some(after) = &request.after
        && std::mem::discriminant(&after.value) != std::mem::discriminant(&lowest(key))
    {
        return Err(RequestError::PositionOfOtherOrder.into());
    }
    let after = request.after.clone().map(|mut after| {
        if let SortValue::Number(number) = &mut after.value {
            // What no row has.
            *number = (*number).min(i64::MAX as u64);
        }
        after
    });
    let limit = (request.limit as usize).clamp(1, PAGE_LINKS_MAX);
    // One more, which says whether more follow.
    let wanted = Wanted { sort: request.sort, after: after.as_ref(), limit: limit + 1, count: request.count };
    let (new, new_links) = in_tail(&tail, &filter, &wanted);
    drop(tail);
    let Found { rows: sealed, total, is_minimum } = view.find(&filter, &wanted)?;
    let mut first = First::of(&wanted);
    for (position, key) in new.into_iter().chain(sealed) {
        first.add(Value::of(&position.value), position.hash.0, || key);
    }
    let mut rows: Vec<ListedRow> =
        first.rows().into_iter().map(|(position, key)| ListedRow { position, key }).collect();
    let more = rows.len() > limit;
    rows.truncate(limit);
    let matches = request.count.then_some(Matches { total: total + new_links, is_minimum });
    Ok(CatalogPage { rows, matches, more })
}

/// The first rows of the tail, and how many of it fit.
fn in_tail(tail: &Tail, filter: &Filter, wanted: &Wanted<'_>) -> (Vec<(ListPosition, LinkKey)>, u64) {
    let (mut first, mut links) = (First::of(wanted), 0);
    let is_any = filter.is_any();
    // From the newest: in most orders by time, these are the first.
    for row in tail.rows().rev().map(|(_, row)| row).filter(|row| is_any || filter.fits(row)) {
        links += 1;
        first.add(row.value(wanted.sort.key), row.hash, || row.key());
    }
    (first.rows(), links)
}
