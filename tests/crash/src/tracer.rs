//! strace, as it is used here.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::trace::{self, CALLS, Call};

/// # Errors
/// It is not installed, or may not trace.
pub(crate) fn check() -> Result<()> {
    let works = Command::new("strace")
        .args(["-D", "-f", "--seccomp-bpf", "-e", "trace=fsync", "-o", "/dev/null", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    ensure!(
        works.is_ok_and(|status| status.success()),
        "strace 5.3 or later is needed (apt-get install strace), and must be allowed to trace"
    );
    Ok(())
}

/// The tracer is a grandchild: the process that was started becomes the relay.
fn tracer(to: &Path) -> Vec<String> {
    let words = ["strace", "-D", "-f", "-y", "-xx", "-o"];
    words.into_iter().map(str::to_owned).chain([to.display().to_string()]).collect()
}

/// Writes every call that matters to a file, with all octets.
pub(crate) fn all_calls(to: &Path) -> Vec<String> {
    // Stops at no other calls.
    let longest = ["--seccomp-bpf".to_owned(), "-s".to_owned(), (16 << 20).to_string()];
    tracer(to)
        .into_iter()
        .chain(longest)
        .chain(["-e".to_owned(), format!("trace={}", CALLS.join(","))])
        .collect()
}

/// The same, and a thread's Nth sync fails once. A second one would succeed, as if nothing had
/// happened.
pub(crate) fn fail_sync(to: &Path, nth: u32) -> Vec<String> {
    let inject = ["-e".to_owned(), format!("inject=fdatasync:error=EIO:when={nth}")];
    all_calls(to).into_iter().chain(inject).collect()
}

/// What a tracer wrote. It writes its last lines after the relay is gone.
pub(crate) fn read(from: &Path) -> Result<Vec<Call>> {
    let size = || fs::metadata(from).map(|m| m.len());
    let mut before = size()?;
    loop {
        sleep(Duration::from_millis(200));
        match size()? {
            now if now == before => return trace::read(BufReader::new(File::open(from)?)),
            now => before = now,
        }
    }
}

/// Kills at a thread's Nth call of this kind, before the kernel does it. (With `--seccomp-bpf` the
/// signal would be dropped.)
pub(crate) fn kill_at(to: &Path, call: &str, nth: u32) -> Vec<String> {
    let options = ["-s", "8", "-e"].map(str::to_owned).into_iter().chain([format!("trace={call}")]);
    let inject = ["-e".to_owned(), format!("inject={call}:signal=KILL:when={nth}")];
    tracer(to).into_iter().chain(options).chain(inject).collect()
}

/// The relay's syncs return at once, as if they were done.
pub(crate) fn without_syncs(to: &Path) -> Vec<String> {
    let syncs = "fsync,fdatasync,sync_file_range,msync";
    let options = ["-s", "8", "-e"].map(str::to_owned).into_iter().chain([format!("trace={syncs}")]);
    tracer(to)
        .into_iter()
        .chain(options)
        .chain(["-e".to_owned(), format!("inject={syncs}:retval=0")])
        .collect()
}
