//! What goes wrong in the world: killed processes, full and failing disks, damaged files.

mod damage;
mod disk;
mod kill;
mod power;
