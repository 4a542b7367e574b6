//! What a link costs in memory.

use waypost_store::machine::{Machine, ShardMachine};

use super::shards::{filled, open};

#[test]
fn a_stored_link_takes_about_fifty_bytes_of_memory() {
    let dir = tempfile::tempdir().unwrap();
    let tree = open(dir.path()).tree("sm/1").unwrap();
    let links: u16 = 5_000;
    filled(tree.clone(), links);
    let (machine, _) = ShardMachine::open(tree).unwrap();
    assert_eq!(machine.links(), usize::from(links));
    let memory = machine.memory();
    let (index, counters) = (memory.index / u64::from(links), memory.counters / u64::from(links));
    // Twenty bytes of the index and five in each of two tables that are half empty at the worst; sixteen of visits.
    assert!((20..44).contains(&index) && (16..18).contains(&counters), "{index} and {counters} bytes");
}
