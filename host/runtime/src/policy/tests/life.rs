//! Instances and threads: how long they live, and who shares them.

use std::time::Instant;

use super::*;
use crate::{Blame, FaultKind};

fn large(bench: &Bench, tenant: &str, case: &str) -> Arc<SandboxedPlugin> {
    bench.load("hostile", |config| {
        config.class = Class::Large;
        config.limits = limits(Class::Large);
        config.tenant = tenant.into();
        config.settings = vec![Attribute::new("case", case)];
    })
}

async fn calls_before(plugin: &SandboxedPlugin) -> String {
    let decision = plugin.judge(case()).await.result.unwrap().decision;
    String::from_utf8(decision.headers[0].value.clone()).unwrap()
}

#[tokio::test]
async fn a_large_one_is_warm_and_its_tenants_alone() {
    let bench = bench();
    let (acme, other) = (large(&bench, "acme", "remembers"), large(&bench, "other", "remembers"));
    for expected in ["0", "1", "2"] {
        assert_eq!(calls_before(&acme).await, expected);
    }
    assert_eq!(calls_before(&other).await, "0", "never shared between tenants");
    assert_eq!(bench.engine.warm_instances(), 2);
    assert_eq!(calls_before(&acme).await, "3");
    drop(acme);
    assert_eq!(bench.engine.warm_instances(), 1, "a plugin that goes takes its instances with it");
}

#[tokio::test]
async fn warm_ones_are_bounded_and_dropped_when_idle() {
    let bench = bench_with(|config| {
        config.warm = 2;
        config.warm_idle = Duration::from_secs(60);
    });
    let plugins: Vec<_> = ["a", "b", "c"].map(|tenant| large(&bench, tenant, "remembers")).into();
    for plugin in &plugins {
        assert_eq!(calls_before(plugin).await, "0");
    }
    assert_eq!(bench.engine.warm_instances(), 2);
    assert_eq!(calls_before(&plugins[0]).await, "0", "the one that was idle for longest is gone");
    bench.engine.sweep(Instant::now());
    assert_eq!(bench.engine.warm_instances(), 2);
    bench.engine.sweep(Instant::now() + Duration::from_secs(61));
    assert_eq!(bench.engine.warm_instances(), 0);
}

#[tokio::test]
async fn a_trapped_instance_is_dropped() {
    let bench = bench();
    let plugin = large(&bench, "acme", "trap");
    plugin.judge(case()).await.result.unwrap_err();
    assert_eq!(bench.engine.warm_instances(), 0);
    // The case in the message rather than in the settings: one instance, that answers first and
    // traps later.
    let plugin = bench.load("hostile", |config| config.class = Class::Large);
    let with = |case: &str| {
        case_of(Message { attributes: vec![Attribute::new("case", case)], ..message() }, b"", None)
    };
    plugin.judge(with("remembers")).await.result.unwrap();
    assert_eq!(bench.engine.warm_instances(), 1);
    plugin.judge(with("trap")).await.result.unwrap_err();
    assert_eq!(bench.engine.warm_instances(), 0);
    let decision = plugin.judge(with("remembers")).await.result.unwrap().decision;
    assert_eq!(decision.headers[0].value, b"0");
}

/// A body in some hundred chunks, each a call: an inspector that was not given back would stay in
/// the instance.
#[tokio::test]
async fn a_warm_instance_serves_many() {
    let bench = bench();
    let plugin = bench.load("everything", |config| {
        config.class = Class::Large;
        config.limits = limits(Class::Large);
    });
    let mut memory = Vec::new();
    for _ in 0..50 {
        let outcome = plugin.judge(case_of(message(), &vec![b'x'; 1 << 20], None)).await;
        outcome.result.unwrap();
        memory.push(outcome.cost.memory);
    }
    assert_eq!(memory[10], memory[49], "it grows: {memory:?}");
    assert_eq!(bench.engine.warm_instances(), 1);
}

#[tokio::test]
async fn who_gets_no_thread_is_told_in_time() {
    let bench = bench_with(|config| {
        config.threads_per_tenant = 1;
        config.wait = Duration::from_millis(100);
    });
    let plugin = bench.load("hostile", |config| {
        config.limits.call_cpu = Duration::from_millis(400);
        config.settings = vec![Attribute::new("case", "endless-loop")];
    });
    let (first, second) = tokio::join!(plugin.judge(case()), plugin.judge(case()));
    assert_eq!(first.result.unwrap_err().kind, FaultKind::Deadline);
    let fault = second.result.unwrap_err();
    assert_eq!((fault.blame, fault.kind), (Blame::Host, FaultKind::Host), "{fault}");
    let faults = plugin.metrics().faults;
    assert_eq!((faults[&("guest", "deadline")], faults[&("host", "host")]), (1, 1));
}

/// Two tenants, one code.
#[test]
fn equal_digests_share_code() {
    let bench = bench();
    let first = bench.load("accept-all", |_| {});
    let second = bench.load("accept-all", |config| config.tenant = "other".into());
    assert!(first.shares_code_with(&second));
    let different = bench.load("everything", |_| {});
    assert!(!first.shares_code_with(&different));
}

/// On Linux each thread has a nice value of its own.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn its_threads_yield_to_others() {
    let _bench = bench_with(|config| config.nice = 3);
    let own = rustix::process::getpriority_process(None).unwrap();
    let nice_of = |path: std::path::PathBuf| {
        let stat = std::fs::read_to_string(path.join("stat")).ok()?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        // The 19th field of proc_pid_stat(5); the rest begins with the third.
        name.starts_with("plugin-").then(|| rest.split_whitespace().nth(16)?.parse::<i32>().ok())?
    };
    let found = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        tasks.filter_map(|task| nice_of(task.unwrap().path())).any(|nice| nice == own + 3)
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while !found() {
        assert!(Instant::now() < deadline, "no thread with a lower priority");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Replays and the like.
#[tokio::test]
async fn what_nobody_waits_for_takes_no_thread_that_somebody_waits_for() {
    let bench = bench_with(|config| config.threads_per_tenant = 1);
    let busy = bench.load("hostile", |config| {
        config.limits.call_cpu = Duration::from_millis(400);
        config.settings = vec![Attribute::new("case", "endless-loop")];
    });
    let quick = bench.load("accept-all", |_| {});
    let other = bench.load("accept-all", |config| config.tenant = "other".into());
    // Threads start a moment after the engine.
    let deadline = Instant::now() + Duration::from_secs(10);
    while quick.judge_if_idle(case()).await.is_none() {
        assert!(Instant::now() < deadline, "no thread is idle");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let beside = async {
        let taken = quick.judge_if_idle(case()).await;
        let others = loop {
            match other.judge_if_idle(case()).await {
                None if Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(1)).await,
                found => break found.is_some(),
            }
        };
        (taken.is_none(), others)
    };
    let (looped, (refused, others)) = tokio::join!(busy.judge(case()), beside);
    assert_eq!(looped.result.unwrap_err().kind, FaultKind::Deadline);
    assert!(refused, "the share of the tenant is taken");
    assert!(others, "that of another tenant is not");
}
