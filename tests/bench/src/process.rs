//! What the kernel says about a process, the machine and a file system (Linux, /proc).

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Ticks of utime and stime in a second (`USER_HZ`, 100 on every Linux architecture that Rust
/// knows).
const TICKS: u64 = 100;

/// Time on the processor.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    /// In the program.
    pub user: Duration,
    /// In the kernel for it.
    pub system: Duration,
}

impl Cpu {
    /// Both.
    pub fn total(self) -> Duration {
        self.user + self.system
    }

    /// With another process's.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { user: self.user + other.user, system: self.system + other.system }
    }

    /// What was used after `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
        }
    }
}

/// User and system time of a process and all its threads.
pub fn cpu(pid: u32) -> Result<Cpu> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    stat_cpu(&stat, [11, 12])
}

/// The same with the children that ended and were waited for.
pub(crate) fn cpu_with_children(pid: u32) -> Result<Cpu> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    Ok(stat_cpu(&stat, [11, 12])?.plus(stat_cpu(&stat, [13, 14])?))
}

/// Two fields of `/proc/PID/stat`, counted from the state.
fn stat_cpu(stat: &str, [user, system]: [usize; 2]) -> Result<Cpu> {
    // The name may hold spaces and parentheses; what follows the last one does not.
    let fields: Vec<&str> =
        stat.rsplit_once(')').context("/proc/PID/stat")?.1.split_ascii_whitespace().collect();
    let ticks = |n: usize| -> Result<Duration> {
        let ticks: u64 = fields.get(n).context("/proc/PID/stat is short")?.parse()?;
        Ok(Duration::from_millis(ticks * 1000 / TICKS))
    };
    Ok(Cpu { user: ticks(user)?, system: ticks(system)? })
}

/// Time that all processors were busy, and given to others by the hypervisor.
pub fn busy() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("/proc/stat is empty")?;
    let fields: Vec<u64> = line.split_ascii_whitespace().skip(1).filter_map(|f| f.parse().ok()).collect();
    // user nice system - - irq softirq steal
    let ticks: u64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|n| fields.get(*n)).sum();
    Ok(Duration::from_millis(ticks * 1000 / TICKS))
}

/// Resident memory in KiB.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// The largest since the start, or since [`reset_peak`].
    pub peak: u64,
    /// All of it now.
    pub resident: u64,
    /// Without pages of files.
    pub anonymous: u64,
}

/// Reads it.
pub fn memory(pid: u32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|l| l.strip_prefix(name)).with_context(|| format!("no {name}"))?;
        Ok(line.trim().trim_end_matches("kB").trim().parse()?)
    };
    Ok(Memory { peak: field("VmHWM:")?, resident: field("VmRSS:")?, anonymous: field("RssAnon:")? })
}

/// Resident memory in KiB where a page that several processes share counts by its part (`Pss`).
pub fn proportional(pid: u32) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|l| l.strip_prefix("Pss:")).context("no Pss")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

/// Octets that a process had written to disks: what it made dirty in the cache counts (proc(5), io).
pub fn written(pid: u32) -> Result<u64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io"))?;
    let line = io.lines().find_map(|l| l.strip_prefix("write_bytes:")).context("no write_bytes")?;
    Ok(line.trim().parse()?)
}

/// Sets the peak to what is resident now (proc(5), clear_refs).
pub fn reset_peak(pid: u32) -> Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").context("cannot reset VmHWM")
}

/// Type of the file system that holds `path`.
pub fn file_system(path: &Path) -> Result<String> {
    let path = path.canonicalize()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let mut best = (0, String::new());
    for line in mounts.lines() {
        let (Some(point), Some((_, after))) = (line.split(' ').nth(4), line.split_once(" - ")) else {
            continue;
        };
        if path.starts_with(point) && point.len() >= best.0 {
            best = (point.len(), after.split(' ').next().unwrap_or_default().to_owned());
        }
    }
    Ok(best.1)
}

/// Median time of a 4 KiB append with fdatasync in `directory`: what a commit cannot be faster
/// than.
pub fn sync_time(directory: &Path) -> Result<Duration> {
    use std::io::Write;
    let path = directory.join("sync");
    let mut file = fs::File::create(&path)?;
    let mut times = Vec::new();
    for _ in 0..100 {
        let began = Instant::now();
        file.write_all(&[0x55; 4096])?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    fs::remove_file(path)?;
    times.sort();
    Ok(times[times.len() / 2])
}

/// Kernel, processors and model.
pub fn machine() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|l| l.starts_with("model name")).and_then(|l| l.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("Linux {}, {cores} processors, {}", kernel.trim(), model.map_or("model unknown", |m| m.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_own_figures() {
        let pid = std::process::id();
        let memory = memory(pid).expect("memory");
        assert!(memory.peak >= memory.resident && memory.resident > memory.anonymous);
        let before = cpu(pid).expect("cpu");
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(100) {
            std::hint::spin_loop();
        }
        let used = cpu(pid).expect("cpu").since(before).total();
        assert!(used > Duration::ZERO && used < Duration::from_secs(5), "{used:?}");
        assert!(!file_system(Path::new("/proc")).expect("mounts").is_empty());
    }
}
