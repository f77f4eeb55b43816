//! Too much time, memory, stack, output; and what is not a function of the message.

use std::hash::{BuildHasher, RandomState};
use std::hint::black_box;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use relevo_policy_sdk::{Answer, Decision, Message, clock, kv, log};

const MIB: usize = 1 << 20;

pub(crate) fn run(case: &str, message: &Message) -> Option<Answer> {
    Some(match case {
        "endless-loop" => forever(),
        "busy" => busy(),
        "deep-recursion" => Err(format!("came back from {}", deeper(0))),
        "memory-bomb" => memory_bomb(),
        "memory-copy" => memory_copy(),
        "huge-log" => huge_log(),
        "huge-output" => huge_output(),
        "slow-kv" => slow_kv(),
        "kv-flood" => kv_flood(),
        "trap" => panic!("trap"),
        "error" => Err("error".to_owned()),
        "huge-error" => Err("e".repeat(4 * MIB)),
        "exit" => std::process::exit(0),
        "sleep" => {
            std::thread::sleep(Duration::from_secs(3_600));
            Ok(Decision::accept())
        }
        "read-file" => {
            std::fs::read("/etc/passwd").map_or_else(|e| Err(e.to_string()), |_| Ok(Decision::accept()))
        }
        "non-determinism" => Ok(non_determinism(message)),
        "remembers" => Ok(remembers()),
        _ => return None,
    })
}

pub(crate) fn forever() -> ! {
    let mut n = 0_u64;
    loop {
        n = black_box(n.wrapping_add(1));
    }
}

/// Most of the time that a call may take, every time, and nothing to hold against it: some 30 ms of
/// the 50 on an ordinary machine.
fn busy() -> Answer {
    let mut n = 1_u64;
    for _ in 0..18_000_000 {
        // Each round needs the one before it.
        n ^= n << 13;
        n ^= n >> 7;
        n ^= n << 17;
    }
    black_box(n);
    Ok(Decision::accept())
}

#[expect(unconditional_recursion, reason = "that is the case")]
fn deeper(n: u64) -> u64 {
    let frame = black_box([n; 64]);
    deeper(n + 1) + frame[0]
}

fn memory_bomb() -> Answer {
    let mut hoard = Vec::new();
    loop {
        hoard.push(black_box(vec![0xA5_u8; MIB]));
    }
}

/// `memory.copy` cannot be interrupted; many of them can be, between one and the next.
fn memory_copy() -> Answer {
    let mut block = vec![1_u8; 4 * MIB];
    loop {
        block.copy_within(..2 * MIB, 2 * MIB);
        black_box(&mut block);
    }
}

fn huge_log() -> Answer {
    let line = "l\r\n\u{1b}[2J".repeat(8_192);
    for _ in 0..200 {
        log::error(&line);
    }
    Ok(Decision::accept())
}

fn huge_output() -> Answer {
    let line = "o".repeat(65_536);
    for _ in 0..50 {
        println!("{line}");
        eprintln!("{line}");
    }
    Ok(Decision::accept())
}

/// Little CPU time of its own, all the time in the host.
fn slow_kv() -> Answer {
    loop {
        black_box(kv::scan("", None, u32::MAX).ok());
    }
}

/// More than the quota, and keys that are none.
fn kv_flood() -> Answer {
    let keys = vec!["k".repeat(MIB), String::new(), "\0".to_owned()];
    for key in &keys {
        if kv::get(key).is_ok() {
            return Err(format!("a key of {} octets was looked up", key.len()));
        }
    }
    let many = vec!["k".to_owned(); 100_000];
    let refused = kv::get_many(&many).is_err();
    let exhausted = (0..20_000).any(|_| kv::get("k") == Err(kv::Error::Exhausted));
    Ok(Decision::accept().header("X-Flood", format!("refused={refused} exhausted={exhausted}")))
}

/// Everything that could differ between two runs, in one field: a replay must have the same.
fn non_determinism(message: &Message) -> Decision {
    let random = RandomState::new().hash_one(1);
    let began = Instant::now();
    black_box((0..100_000_u64).fold(0, |sum, n| black_box(sum + n)));
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let address = std::ptr::from_ref(message) as usize;
    let environment = std::env::vars().count() + std::env::args().count();
    Decision::accept().header(
        "X-Seen",
        format!(
            "random={random:016x} wall={} clock={} elapsed={} address={address:x} environment={environment}",
            wall.as_millis(),
            clock::now(),
            began.elapsed().as_nanos(),
        ),
    )
}

/// Tells whether this instance has decided before.
fn remembers() -> Decision {
    use std::sync::atomic::{AtomicU32, Ordering};
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let before = CALLS.fetch_add(1, Ordering::Relaxed);
    Decision::accept().header("X-Calls-Before", before.to_string())
}
