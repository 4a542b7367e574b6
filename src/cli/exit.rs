//! The exit codes of the binary, in one place. `waypost --help` lists them.

/// Success.
pub const OK: u8 = 0;
/// A failure, explained in the message.
pub const FAILURE: u8 = 1;
/// The command line or the configuration is wrong.
pub const USAGE: u8 = 2;
/// Partial failure: rows of an import, damaged records of a check or a backup, a missing node or leader of the cluster.
pub const PARTLY: u8 = 3;
/// The server cannot be reached.
pub const UNREACHABLE: u8 = 4;
/// The link does not exist, has expired, is used up, has not begun, or is disabled.
pub const NOT_FOUND: u8 = 5;
/// The link is not at the version that `--if-match` requires.
pub const CHANGED: u8 = 6;
/// A service of the node could not be kept running (`EX_SOFTWARE`). Start the node again.
pub const SOFTWARE: u8 = 70;
/// The disk failed or the store is damaged (`EX_IOERR`). Repair the disk, run `waypost check`, start the node again.
pub const STORAGE: u8 = 74;

// Below this floor a process ends by itself with the same code.
const _: () = assert!(SOFTWARE as i32 == waypost_tasks::EXIT_SOFTWARE);

/// The list for `--help`.
pub const HELP: &str = "Exit codes:
   0  success
   1  failure, explained in the message
   2  the command line or the configuration is wrong
   3  partial failure: rows of an import, records of a check or a
      backup, a node or a leader of the cluster, a node that refuses changes
   4  the server cannot be reached
   5  the link does not exist, has expired, is used up, has not begun, or is disabled
   6  the link was changed meanwhile (--if-match)
  70  a service of the node could not be kept running: start the node again
  74  the disk failed or the store is damaged: repair it, run `waypost check`,
      start again

Examples:
  waypost serve               a node on 127.0.0.1:8080, its data in waypost-data
  waypost serve --listen :80 --data-dir /srv/waypost
  waypost shorten https://example.com/a/long/address --slug spring
  waypost shorten https://example.com/sale --valid-until 2030-12-31
  waypost links qr spring --svg spring.svg
  waypost import urls.txt --find-existing --report report.csv
  waypost check --data-dir /srv/waypost";
