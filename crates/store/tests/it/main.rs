//! The store from outside: what states, snapshots, backups and logs are, on a disk.

mod blocks;
mod clock;
mod crawlable;
mod damage;
mod domains;
mod existing;
mod files;
mod golden;
mod group_0;
mod histories;
mod hours;
mod levels;
mod limits;
mod listed;
mod log;
mod members;
mod memory;
mod model;
mod pending;
mod positions;
mod sessions;
mod shards;
mod statistics;
mod top;
