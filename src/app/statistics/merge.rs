//! The statistics of all shards, added up.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use waypost_protocol::clicks::{Counts, Dimension, Ranking, Stats, Whose};

/// The most links in a list of top links.
const TOP_MAX: usize = 50;

/// Adds up the answers of shards. `whose` selects the visits by which links are ranked.
pub(super) fn merged(shards: impl IntoIterator<Item = Stats>, whose: Whose) -> Stats {
    let mut all = Stats { ranking: Ranking::AsAsked, ..Stats::default() };
    let mut hours: BTreeMap<u32, Counts> = BTreeMap::new();
    let mut days: BTreeMap<u32, Counts> = BTreeMap::new();
    let mut values: BTreeMap<(Dimension, String), Counts> = BTreeMap::new();
    for stats in shards {
        stats.hours.iter().for_each(|(hour, counts)| hours.entry(*hour).or_default().merge(*counts));
        stats.days.iter().for_each(|(day, counts, _)| days.entry(*day).or_default().merge(*counts));
        all.visitors.merge(&stats.visitors);
        all.total.merge(stats.total);
        for (dimension, text, counts) in stats.values {
            values.entry((dimension, text)).or_default().merge(counts);
        }
        all.top.extend(stats.top);
        if all.ranking == Ranking::AsAsked {
            all.ranking = stats.ranking;
        }
    }
    all.hours = hours.into_iter().collect();
    all.days = days.into_iter().map(|(day, counts)| (day, counts, 0)).collect();
    all.values = values.into_iter().map(|((dimension, text), counts)| (dimension, text, counts)).collect();
    all.top.sort_by_key(|(key, counts)| (Reverse(whose.of(*counts)), key.code.clone()));
    all.top.truncate(TOP_MAX);
    all
}

#[cfg(test)]
mod tests {
    use waypost_protocol::{Code, LinkKey};

    use super::*;

    fn people(people: u64) -> Counts {
        Counts { people, bots: 100 - people }
    }

    fn shard(top: &[(&str, u64)], ranking: Ranking) -> Stats {
        let key = |code: &str| LinkKey::new(Code::from_path(code).unwrap());
        Stats {
            total: people(7),
            days: vec![(20_000, people(3), 2), (20_001, people(4), 1)],
            hours: vec![(480_001, people(3))],
            values: vec![(Dimension::Os, "Linux".to_owned(), people(7))],
            top: top.iter().map(|(code, clicks)| (key(code), people(*clicks))).collect(),
            ranking,
            ..Stats::default()
        }
    }

    #[test]
    fn shards_are_added_up_and_the_most_visited_links_of_all_come_first() {
        let all = merged(
            [shard(&[("b", 5), ("a", 2)], Ranking::AsAsked), shard(&[("c", 5), ("d", 9)], Ranking::AsAsked)],
            Whose::People,
        );
        assert_eq!(all.total, Counts { people: 14, bots: 186 });
        // The unique visitors of a day cannot be added up.
        assert_eq!(
            all.days,
            [(20_000, Counts { people: 6, bots: 194 }, 0), (20_001, Counts { people: 8, bots: 192 }, 0)]
        );
        assert_eq!((all.hours.len(), all.values.len(), all.ranking), (1, 1, Ranking::AsAsked));
        let order = |stats: &Stats| stats.top.iter().map(|(key, _)| key.code.to_string()).collect::<Vec<_>>().concat();
        assert_eq!(order(&all), "dbca");
        let bots = merged([shard(&[("b", 5), ("a", 2)], Ranking::AsAsked)], Whose::Bots);
        assert_eq!(order(&bots), "ab");
    }

    #[test]
    fn one_shard_that_cannot_rank_its_links_makes_the_list_void() {
        for ranking in [Ranking::TooMany, Ranking::Lifetime] {
            let shards = [shard(&[], Ranking::AsAsked), shard(&[], ranking), shard(&[], Ranking::AsAsked)];
            assert_eq!(merged(shards, Whose::People).ranking, ranking);
        }
    }
}
