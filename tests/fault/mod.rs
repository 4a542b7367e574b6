//! What goes wrong in the world: killed processes, full and failing disks, too little memory, damaged files, places that cannot be used.

mod damage;
mod disk;
mod kill;
mod memory;
mod place;
mod power;

pub(crate) use disk::SmallDisk;
