//! Compiling in a process of its own. A stranger's component can make a compiler use very much time
//! and memory, and a compiler is a large program: it gets the lowest priority, half of the
//! processors, limits of memory and time, no environment but that, and files for input and output.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, nice, setrlimit};

/// Octets of the child's complaint that are kept.
const MAX_COMPLAINT: u64 = 4_096;
/// The elapsed time that it may take. A niced process waits on a busy machine, so this is long: CPU
/// time has a limit of its own.
const MAX_ELAPSED: Duration = Duration::from_secs(600);
/// Between two looks at a compiler that runs.
const POLL: Duration = Duration::from_millis(20);
/// Added to the nice value. As low as there is: an upload may take its time, and mail may not.
const NICE: i32 = 19;

/// Limits of the process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChildLimits {
    /// Octets.
    pub(crate) memory: u64,
    /// On the processor, all threads together.
    pub(crate) time: Duration,
}

/// Starts `program` as a compiler of the component `wasm` and returns native code. Blocks.
///
/// # Errors
/// What is wrong with the component, or which limit it hit.
pub(crate) fn compile(
    program: &Path,
    wasm: &[u8],
    work: &Path,
    limits: ChildLimits,
) -> Result<Vec<u8>, String> {
    // Names that no other compilation uses: what is in the second file will be run.
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let [component, out] = ["wasm", "code"].map(|kind| work.join(format!("{number}.{kind}")));
    let named = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    let code = std::fs::write(&component, wasm)
        .map_err(|e| named(&component, e))
        .and_then(|()| run(program, &component, &out, limits))
        .and_then(|()| std::fs::read(&out).map_err(|e| named(&out, e)));
    for file in [component, out] {
        // The second one is not there when the child failed.
        let _ = std::fs::remove_file(file);
    }
    code
}

fn run(program: &Path, component: &Path, out: &Path, limits: ChildLimits) -> Result<(), String> {
    let seconds = limits.time.as_secs().max(1);
    let mut child = Command::new(program)
        .args(["plugin-compile", "--parent", &std::process::id().to_string()])
        .args(["--memory", &limits.memory.to_string(), "--seconds", &seconds.to_string()])
        .args([component, out])
        .env_clear()
        .env("RAYON_NUM_THREADS", half_of_the_processors().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("the compiler cannot be started: {e}"))?;
    // Read as it comes, so that a child that says much does not wait for us; what is too much is
    // dropped.
    let complaint = child.stderr.take().map(|mut stderr| {
        thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.by_ref().take(MAX_COMPLAINT).read_to_end(&mut text);
            let _ = io::copy(&mut stderr, &mut io::sink());
            String::from_utf8_lossy(&text).into_owned()
        })
    });
    let ended = wait(&mut child, MAX_ELAPSED.max(limits.time * 2)).map_err(|e| e.to_string())?;
    let said = complaint.and_then(|thread| thread.join().ok()).unwrap_or_default();
    match ended {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(why(status, &said, limits)),
        None => Err("compiling came to no end: the machine is too busy for it".to_owned()),
    }
}

/// Waits until the child has ended. Returns none if it was killed because it took more than `most`.
fn wait(child: &mut Child, most: Duration) -> io::Result<Option<ExitStatus>> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if began.elapsed() > most {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}

/// For the threads of the compiler: however low their priority, each one that runs keeps a
/// processor warm with its own data.
fn half_of_the_processors() -> usize {
    thread::available_parallelism().map_or(1, |n| (n.get() / 2).max(1))
}

fn too_long(limits: ChildLimits) -> String {
    let seconds = limits.time.as_secs().max(1);
    format!(
        "compiling takes more than the {seconds} s of processor time that `compile_time` of [plugins] allows"
    )
}

fn why(status: ExitStatus, said: &str, limits: ChildLimits) -> String {
    use std::os::unix::process::ExitStatusExt;
    let said = said.trim();
    match (status.code(), status.signal()) {
        (Some(1), _) if !said.is_empty() => said.to_owned(),
        // SIGXCPU, and SIGKILL at the hard limit.
        (_, Some(24 | 9)) => too_long(limits),
        // An allocation that fails ends the process.
        (_, Some(_)) | (Some(_), _) => {
            format!(
                "the compiler ended with {status}, perhaps for want of memory: `compile_memory` of [plugins] allows {} octets",
                limits.memory
            )
        }
        (None, None) => format!("the compiler ended with {status}"),
    }
}

/// What the child does: limits itself, then compiles `component` into the file `out`. `parent` is
/// the process that wants it.
///
/// # Errors
/// For standard error.
pub fn compile_here(
    component: &Path,
    out: &Path,
    memory: u64,
    seconds: u64,
    parent: u32,
) -> Result<(), String> {
    end_with(parent)?;
    let limit = |resource, most: u64| {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most.saturating_add(1)) })
            .map_err(|e| format!("limits cannot be set: {e}"))
    };
    // Private memory that can be written; address space alone costs nothing.
    limit(Resource::Data, memory)?;
    limit(Resource::Cpu, seconds)?;
    limit(Resource::Fsize, 1 << 30)?;
    limit(Resource::Core, 0)?;
    // Refused only where it makes no difference.
    let _ = nice(NICE);
    let wasm = std::fs::read(component).map_err(|e| format!("{}: {e}", component.display()))?;
    let code = relevo_runtime::policy::compile(&wasm).map_err(|e| e.to_string())?;
    std::fs::write(out, code).map_err(|e| format!("{}: {e}", out.display()))
}

/// Binds the child to its parent: nobody is left to read what it makes when the relay has ended.
fn end_with(parent: u32) -> Result<(), String> {
    let is_there = || {
        let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
        if now == Some(parent) {
            Ok(())
        } else {
            Err(format!("the relay that wants it, process {parent}, has ended"))
        }
    };
    is_there()?;
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    // It may have ended before that was said.
    is_there()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A compiler that does what a script says.
    fn with(script: &str, time: Duration) -> Result<Vec<u8>, String> {
        let directory = tempfile::tempdir().expect("a directory");
        let program = directory.path().join("compiler");
        fs::write(&program, format!("#!/bin/sh\nfor out; do :; done\n{script}\n")).expect("writes");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).expect("ours");
        let limits = ChildLimits { memory: 1 << 30, time };
        let result = compile(&program, b"wasm", directory.path(), limits);
        assert_eq!(
            fs::read_dir(directory.path()).expect("ours").count(),
            1,
            "nothing is left but the program"
        );
        result
    }

    #[test]
    fn no_two_compilations_share_a_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let program = directory.path().join("compiler");
        // The code is the name of its file.
        let script = "#!/bin/sh\nfor out; do :; done\nprintf %s \"$out\" > \"$out\"\n";
        fs::write(&program, script).expect("writes");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).expect("ours");
        let limits = ChildLimits { memory: 1 << 30, time: Duration::from_secs(1) };
        let compile = || compile(&program, b"wasm", directory.path(), limits);
        assert_ne!(compile().expect("a name"), compile().expect("a name"));
    }

    #[test]
    fn a_child_that_does_not_end_is_killed() {
        let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("a shell");
        assert_eq!(wait(&mut child, Duration::from_millis(20)).expect("waits"), None);
        assert!(child.try_wait().expect("was waited for").is_some());
        let mut child = Command::new("sh").args(["-c", "exit 7"]).spawn().expect("a shell");
        let ended = wait(&mut child, Duration::from_secs(60)).expect("waits");
        assert_eq!(ended.and_then(|status| status.code()), Some(7));
    }

    #[test]
    fn nothing_is_compiled_for_who_has_ended() {
        let none = Path::new("/nonexistent");
        let said = compile_here(none, none, 1 << 30, 1, std::process::id()).expect_err("another one's child");
        assert!(said.contains("has ended"), "{said}");
    }

    #[test]
    fn code_comes_back_and_complaints_too() {
        let second = Duration::from_secs(1);
        assert_eq!(with("printf code > \"$out\"", second), Ok(b"code".to_vec()));
        assert_eq!(with("echo no component >&2; exit 1", second), Err("no component".into()));
        let killed = with("kill -24 $$", second).expect_err("a signal");
        assert!(killed.contains("more than the 1 s of") && killed.contains("`compile_time`"), "{killed}");
        let aborted = with("kill -6 $$", second).expect_err("a signal");
        assert!(aborted.contains("want of memory: `compile_memory`"), "{aborted}");
        assert!(with("true", second).is_err(), "no code");
    }
}
