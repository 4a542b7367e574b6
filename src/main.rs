//! The `waypost` binary: calls the command line.

use std::process::ExitCode;

/// jemalloc: threads that create links free memory that other threads allocated. With glibc's allocator a node kept a quarter more memory after a
/// million links (benches/README.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    waypost::cli::main()
}
