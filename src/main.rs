use std::process::ExitCode;

/// A tenth of triage's time went into the C library's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tipstaff::cli::main()
}
