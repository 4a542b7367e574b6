//! The list of tags.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use waypost_protocol::listing::TagCount;

use crate::error::CatalogError;
use crate::types::{TagsPage, TagsRequest};

/// The most tags of a part of the list.
const TAGS_MAX: u32 = 10_000;

/// A part of the list of tags.
pub fn tags(conn: &Connection, request: &TagsRequest) -> Result<TagsPage, CatalogError> {
    let mut read = conn.prepare_cached(
        "SELECT tag, domain, shard, spelling, links FROM tags WHERE tag > ?1 ORDER BY tag, domain, shard, spelling",
    )?;
    let mut rows = read.query(params![request.after.as_deref().unwrap_or("")])?;
    let limit = request.limit.clamp(1, TAGS_MAX) as usize;
    let (mut page, mut current) = (TagsPage::default(), Spellings::default());
    while let Some(row) = rows.next()? {
        let tag = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        if tag != current.folded {
            current.end(tag, &mut page);
            if page.tags.len() > limit {
                break;
            }
        }
        let (domain, shard): (u32, u32) = (row.get(1)?, row.get(2)?);
        let counts = request.shards.iter().any(|wanted| wanted.0 == shard)
            && request.domain.is_none_or(|wanted| wanted.0 == domain)
            && !request.exclude_domains.iter().any(|excluded| excluded.0 == domain);
        if counts {
            *current.links.entry(row.get(3)?).or_default() += row.get::<_, i64>(4)? as u64;
        }
    }
    current.end("", &mut page);
    page.more = page.tags.len() > limit;
    page.tags.truncate(limit);
    Ok(page)
}

/// How a tag is written, and by how many links.
#[derive(Default)]
struct Spellings {
    folded: String,
    links: BTreeMap<String, u64>,
}

impl Spellings {
    /// Adds the tag to the list if links have it, and begins the next one.
    fn end(&mut self, next: &str, page: &mut TagsPage) {
        let folded = std::mem::replace(&mut self.folded, next.to_owned());
        let links = std::mem::take(&mut self.links);
        let total = links.values().sum();
        // The spelling of most links; of several, the first.
        let most = links.into_iter().rev().max_by_key(|(_, links)| *links);
        if let Some((tag, _)) = most {
            page.tags.push(TagCount { tag, folded, links: total });
        }
    }
}
