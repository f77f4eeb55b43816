//! A guest's fault is the guest's: each kind is named, and none takes long.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use relevo_mailkit::model::{Refusal, Report, ValidateOptions};
use relevo_mailkit::source::Source;

use super::guests::{dummy, importer, printer, validator};
use crate::components::Embedded;
use crate::{Blame, Fault, FaultKind, LoadError, Runtime, RuntimeConfig, Stage, StageLimits, Stages};

/// A refusal at address 16: `code`, then `5.6.0`, `rule`, and `detail` given as address and length.
fn refusal(code: &str, detail: (u32, u32)) -> String {
    let word = |n: u32| n.to_le_bytes().iter().map(|b| format!("\\{b:02x}")).collect::<String>();
    // A report has values of eight octets, so the refusal beside it begins at a multiple of eight.
    let header = format!(
        "\\01\\00\\00\\00\\00\\00\\00\\00{code}\\00\\00{}{}{}{}",
        word(64),
        word(5),
        word(72),
        word(4)
    );
    format!(
        r#"(data (i32.const 16) "{header}{}{}") (data (i32.const 64) "5.6.0\00\00\00rule\00\00\00\00text\ff\fe\0d\0a")"#,
        word(detail.0),
        word(detail.1)
    )
}

/// 550, and the address of `text`.
const CODE_550: &str = "\\26\\02";
const TEXT: (u32, u32) = (80, 4);

fn start(component: Embedded) -> Result<Arc<Runtime>, LoadError> {
    let limits =
        StageLimits { call_cpu: Duration::from_millis(100), memory: 1 << 20, ..StageLimits::default() };
    let config = RuntimeConfig { calls: 1, limits, ..RuntimeConfig::default() };
    Runtime::with_components(config, |stage| {
        Some(if stage == Stage::Validate { component } else { dummy(stage) })
    })
}

fn options() -> ValidateOptions {
    ValidateOptions {
        max_size: 1 << 20,
        max_received: 100,
        max_depth: 10,
        max_parts: 100,
        smtputf8: false,
        hostname: "mta.example".into(),
        now: 0,
        message_id_left: "id".into(),
        downgrade: false,
        include_headers: false,
        strict_headers: false,
    }
}

fn call(runtime: &Runtime) -> Result<Result<Report, Refusal>, Fault> {
    runtime.validate(options(), &b"From: a@example.com\r\n\r\n".to_vec())
}

fn fault_of(push: &str, finish: &str, data: &str) -> Fault {
    let runtime = start(validator(push, finish, data)).unwrap();
    let fault = call(&runtime).unwrap_err();
    assert_eq!((fault.stage, fault.blame), (Stage::Validate, Blame::Guest), "{fault}");
    let (_, stats) = runtime.stats()[0];
    assert_eq!((stats.calls, stats.faults), (0, 1));
    // CPU time, not wall time: a busy machine is not the guest's fault.
    assert!(stats.cpu < Duration::from_secs(1), "it used {:?}", stats.cpu);
    fault
}

#[test]
fn a_guest_that_behaves_is_heard() {
    let runtime = start(validator("", "i32.const 16", &refusal(CODE_550, TEXT))).unwrap();
    let refusal = call(&runtime).unwrap().unwrap_err();
    assert_eq!((refusal.code, refusal.enhanced.as_str(), refusal.detail.as_str()), (550, "5.6.0", "text"));
    assert_eq!(runtime.stats()[0].1.calls, 1);
    assert!(runtime.stats()[0].1.cpu > Duration::ZERO);
}

#[test]
fn an_endless_loop_is_stopped() {
    let fault = fault_of("(loop br 0)", "i32.const 0", "");
    assert_eq!(fault.kind, FaultKind::Deadline);
    assert!(fault.detail.contains("100 ms of CPU time in one call"), "{fault}");
}

#[test]
fn memory_is_bounded() {
    let bomb = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 4)) (i32.const -1)))) unreachable";
    let fault = fault_of(bomb, "i32.const 0", "");
    assert_eq!(fault.kind, FaultKind::Memory);
}

#[test]
fn a_trap_is_a_trap() {
    assert_eq!(fault_of("unreachable", "i32.const 0", "").kind, FaultKind::Trap);
    assert_eq!(fault_of("i32.const -4 i32.load drop", "i32.const 0", "").kind, FaultKind::Trap);
}

#[test]
fn the_stack_is_bounded() {
    let fault = fault_of("i64.const 0 call $recurse drop", "i32.const 0", "");
    assert_eq!(fault.kind, FaultKind::Stack);
    assert!(fault.detail.contains("call stack exhausted"), "{fault}");
}

#[test]
fn an_answer_that_cannot_be_read_is_refused() {
    let not_utf8 = refusal(CODE_550, (80, 6));
    assert_eq!(fault_of("", "i32.const 16", &not_utf8).kind, FaultKind::Answer);
    let beyond_memory = refusal(CODE_550, (80, u32::MAX - 100));
    assert_eq!(fault_of("", "i32.const 16", &beyond_memory).kind, FaultKind::Answer);
    let unknown_case = r#"(data (i32.const 16) "\07")"#;
    assert_eq!(fault_of("", "i32.const 16", unknown_case).kind, FaultKind::Answer);
    assert_eq!(fault_of("", "i32.const -16", "").kind, FaultKind::Answer);
}

#[test]
fn what_is_not_granted_is_refused_by_name() {
    let error = start(importer("wasi:sockets@0.2.6", "tcp", "connect")).err().unwrap();
    let LoadError::Import { stage: Stage::Validate, import } = error else { panic!("{error}") };
    assert_eq!(import, "wasi:sockets/tcp@0.2#connect");
}

/// Such as one that was built from an older WIT package.
#[test]
fn a_component_of_another_type_is_refused_at_start() {
    let error = start(dummy(Stage::Dkim)).err().unwrap();
    assert!(matches!(error, LoadError::Component { stage: Stage::Validate, .. }), "{error}");
}

#[test]
fn exit_ends_the_guest_and_nothing_else() {
    let runtime = start(importer("wasi:cli@0.2.6", "exit", "exit")).unwrap();
    let fault = call(&runtime).unwrap_err();
    assert_eq!((fault.blame, fault.kind), (Blame::Guest, FaultKind::Trap));
    assert!(fault.detail.contains("called exit"), "{fault}");
}

#[test]
fn last_words_are_in_the_fault() {
    let fault = call(&start(printer()).unwrap()).unwrap_err();
    assert_eq!((fault.blame, fault.kind), (Blame::Guest, FaultKind::Trap));
    assert!(fault.detail.ends_with("it printed: why\\n"), "{fault}");
}

#[test]
fn the_runtime_survives_its_guests() {
    let component = validator("(loop br 0)", "i32.const 0", "");
    let runtime = start(component).unwrap();
    for _ in 0..3 {
        assert_eq!(call(&runtime).unwrap_err().kind, FaultKind::Deadline);
    }
    assert_eq!(runtime.stats()[0].1.faults, 3);
}

struct Broken;

impl Source for Broken {
    fn size(&self) -> u64 {
        10
    }

    fn read_at(&self, _offset: u64, _buf: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the disk is gone"))
    }
}

struct Panics;

impl Source for Panics {
    fn size(&self) -> u64 {
        10
    }

    fn read_at(&self, _offset: u64, _buf: &mut [u8]) -> io::Result<usize> {
        panic!("in the host")
    }
}

#[test]
fn the_hosts_fault_is_the_hosts() {
    let runtime = start(validator("", "i32.const 16", &refusal(CODE_550, TEXT))).unwrap();
    let fault = runtime.validate(options(), &Broken).unwrap_err();
    assert_eq!((fault.blame, fault.kind), (Blame::Host, FaultKind::Host));
    let fault = runtime.validate(options(), &Panics).unwrap_err();
    assert_eq!((fault.blame, fault.kind), (Blame::Host, FaultKind::Host));
    assert!(call(&runtime).unwrap().is_err(), "the thread goes on after a panic");
}
