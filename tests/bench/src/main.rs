//! The benchmark's command. See README.md beside this crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    match relevo_bench::run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
