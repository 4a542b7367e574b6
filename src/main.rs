//! The `waypost` binary: reads the command line and hands over.

use std::process::ExitCode;

/// Threads that create links free what others allocated: with glibc's allocator a node kept a quarter more memory after a
/// million links than with this one (benches/README.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    waypost::cli::main()
}
