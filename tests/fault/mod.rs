//! What goes wrong in the world: killed processes, full and failing disks, damaged files, places that cannot be used.

mod damage;
mod disk;
mod kill;
mod place;
mod power;

pub(crate) use disk::SmallDisk;
