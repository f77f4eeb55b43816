//! Limits of the process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::disable_transparent_huge_pages;

/// Memory in pages of 4 KiB: with huge ones a burst leaves tens of megabytes resident that nothing uses. Where the system
/// does not know the setting, it stays as it is.
pub(crate) fn use_small_pages() {
    let _ = disable_transparent_huge_pages(true);
}

/// Raises the soft limit of open files to the hard one: a connection, a spooled body and an attempt each take one.
/// Returns the limit in force.
pub(crate) fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current
}
