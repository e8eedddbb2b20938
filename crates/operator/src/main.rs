//! The `datakit-operator` program; everything happens in [`datakit_operator::cli`].

use std::process::ExitCode;

/// Gives back what is free, so that what an attack took doesn't stay taken.
#[cfg(feature = "server")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    datakit_operator::cli::main()
}
