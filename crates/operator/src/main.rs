//! The `datakit-operator` program; everything happens in [`datakit_operator::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    datakit_operator::cli::main()
}
