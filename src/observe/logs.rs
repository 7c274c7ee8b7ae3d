use tracing_subscriber::EnvFilter;

/// Starts the log on standard error. `RUST_LOG` wins over `level`.
pub fn start_logs(level: &str, json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Started twice (a test): the first one stays.
    let started =
        if json { builder.json().flatten_event(true).try_init() } else { builder.try_init() };
    if started.is_err() {
        tracing::debug!("the log was started before");
    }
}

/// Panics are told by their place only: their message may hold what an alert said (INV-6).
pub fn hide_panic_messages() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, ToString::to_string);
        tracing::error!(place, "a defect: the program panicked");
        eprintln!("tipstaff: a defect: the program panicked at {place}");
    }));
}
