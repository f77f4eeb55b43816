//! Limits of the process.

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::disable_transparent_huge_pages;

/// Memory in pages of 4 KiB: with huge ones a burst leaves tens of megabytes resident that nothing
/// uses. Where the system does not know the setting, it stays as it is.
pub(crate) fn use_small_pages() {
    let _ = disable_transparent_huge_pages(true);
}

/// Files and sockets that are made from here on are for their owner only, whatever the umask was.
pub(crate) fn make_private_files() {
    rustix::process::umask(Mode::from_raw_mode(0o077));
}

/// Raises the soft limit of open files to the hard one: a connection, a spooled body and an attempt
/// each take one. Returns the limit in force.
pub(crate) fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current
}
