use std::sync::mpsc;

use relevo_mailkit::policy::{Decision, Verdict};
use relevo_mailkit::source::Source;

use super::*;
use crate::{sample_messages, test_settings};

const DIGEST: &str = "0123456789012345678901234567890123456789012345678901234567890123";
const WHOLE: RecordSettings = RecordSettings { messages: 1_000, octets: 64 << 20, unredacted: true };

fn plugin(tenant: &str, record: Option<RecordSettings>) -> Arc<PluginSettings> {
    test_settings::plugin(tenant, |settings| settings.record = record)
}

struct World {
    root: tempfile::TempDir,
    recorder: Arc<Recorder>,
}

impl World {
    fn new(record: RecordSettings) -> (Self, RecordingHandle) {
        let root = tempfile::tempdir().expect("a directory");
        let recorder = Recorder::start(root.path().to_owned()).expect("a thread");
        let plugin = plugin("acme", Some(record));
        recorder.keep([&plugin].into_iter());
        let handle = recorder.handle(&plugin, DIGEST).expect("recorded");
        (Self { root, recorder }, handle)
    }

    fn recorded(&self, record: RecordSettings) -> Vec<Recording> {
        let found = self.recorder.read("acme.list", record).expect("readable");
        found.into_iter().map(|stored| stored.read().expect("whole")).collect()
    }
}

fn says(handle: &RecordingHandle, body: Arc<dyn Source>) {
    let case = sample_messages::cases("acme", 7, &None).remove(0);
    let answer = RecordedAnswer::Verdicts((&Decision::from(Verdict::Accept)).into());
    let reads = handle.recorded_reads(&Arc::new(KvData::default()));
    handle.record(case.message, Body { source: body, offset: 2 }, reads, answer);
}

#[test]
fn what_a_verdict_depends_on_is_written() {
    let (world, handle) = World::new(WHOLE);
    says(&handle, Arc::new(b"..Hello\r\n".to_vec()));
    let too_large = usize::try_from(MAX_BODY).expect("in memory") + 3;
    says(&handle, Arc::new(vec![b'x'; too_large]));
    let recorded = world.recorded(WHOLE);
    let [first, large] = recorded.as_slice() else { panic!("{recorded:?}") };
    assert_eq!(first.message, *sample_messages::cases("acme", 7, &None)[0].message);
    assert_eq!((&first.body, first.redacted), (&KeptBody::Whole(b"Hello\r\n".to_vec()), false));
    assert_eq!((first.digest.as_str(), first.reads.is_some()), (DIGEST, true));
    assert_eq!(large.body, KeptBody::LeftOut, "too large");
    assert_eq!((handle.counts(), handle.listed()["messages"].as_u64()), ((2, 0), Some(2)));
}

/// A body that must not be read.
struct Untouched;

impl Source for Untouched {
    fn size(&self) -> u64 {
        10
    }

    fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("it was read"))
    }
}

#[test]
fn a_redacted_recording_has_neither_names_nor_body_nor_reads() {
    let redacted = RecordSettings { unredacted: false, ..WHOLE };
    let (world, handle) = World::new(redacted);
    let body: Arc<dyn Source> = Arc::new(Untouched);
    says(&handle, Arc::clone(&body));
    assert_eq!(Arc::strong_count(&body), 1, "nor is it kept open");
    let recorded = world.recorded(redacted);
    let first = &recorded[0];
    assert!(first.redacted && first.body == KeptBody::LeftOut && first.reads.is_none());
    assert!(!first.message.envelope.sender.contains("example") && first.message.headers.is_empty());
    let directory = world.root.path().join("acme.list");
    let first_key = fs::read(directory.join("key")).expect("made");
    assert_eq!(key(&directory.join("key")).expect("kept").as_slice(), first_key);
    // A key that is half written is made anew.
    fs::write(directory.join("key"), b"half").expect("ours");
    assert_eq!(key(&directory.join("key")).expect("made").len(), KEY);
}

/// A body that cannot be read before it is let go.
struct Stuck(Mutex<mpsc::Receiver<()>>);

impl Source for Stuck {
    fn size(&self) -> u64 {
        10
    }

    fn read_at(&self, _: u64, buf: &mut [u8]) -> io::Result<usize> {
        let _ = self.0.lock().recv();
        buf.fill(b'x');
        Ok(buf.len())
    }
}

#[test]
fn what_is_too_much_is_dropped_and_counted_and_nobody_waits() {
    let (world, handle) = World::new(WHOLE);
    let other = plugin("other", Some(WHOLE));
    world.recorder.keep([&plugin("acme", Some(WHOLE)), &other].into_iter());
    let others = world.recorder.handle(&other, DIGEST).expect("recorded");
    let (go, stuck) = mpsc::channel();
    says(&handle, Arc::new(Stuck(Mutex::new(stuck))));
    let more = (WAITING / 4) as u64 + 50;
    for _ in 0..more {
        says(&handle, Arc::new(b"..Hello\r\n".to_vec()));
    }
    assert!((50..=52).contains(&handle.counts().1), "{:?}", handle.counts());
    // There is room left for another one.
    for _ in 0..10 {
        says(&others, Arc::new(b"..Hello\r\n".to_vec()));
    }
    drop(go);
    world.recorder.flush();
    let (written, dropped) = handle.counts();
    assert_eq!((written + dropped, others.counts()), (more + 1, (10, 0)));

    // Octets are bounded too.
    let (go, stuck) = mpsc::channel();
    says(&handle, Arc::new(Stuck(Mutex::new(stuck))));
    let large: Arc<dyn Source> = Arc::new(vec![b'x'; 1 << 20]);
    for _ in 0..20 {
        says(&handle, Arc::clone(&large));
    }
    assert!(handle.counts().1 - dropped >= 5, "{:?}", handle.counts());
    drop(go);
    world.recorder.flush();
    let left = (world.recorder.room.available_permits(), handle.progress.room.available_permits());
    assert_eq!(left, (ALL_KIB, PLUGIN_KIB), "all of it is given back");
}

#[test]
fn a_stray_file_does_not_keep_what_is_not_wanted() {
    let (world, _handle) = World::new(WHOLE);
    let root = world.root.path();
    for name in ["0", "a", "z", "notes.txt"] {
        fs::write(root.join(name), "stray").expect("ours");
        fs::create_dir(root.join(format!("old.{name}"))).expect("ours");
        fs::write(root.join(format!("old.{name}/unredacted.jsonl")), "of somebody").expect("ours");
    }
    std::os::unix::fs::symlink("/nowhere", root.join("link")).expect("ours");
    world.recorder.keep([&plugin("acme", Some(WHOLE))].into_iter());
    world.recorder.flush();
    let left: Vec<_> = fs::read_dir(root).expect("ours").map(|e| e.expect("ours").file_name()).collect();
    assert_eq!(left, ["acme.list"]);
}

#[test]
fn what_is_not_wanted_any_more_goes_and_does_not_come_back() {
    let (world, handle) = World::new(WHOLE);
    says(&handle, Arc::new(b"..Hello\r\n".to_vec()));
    assert_eq!(world.recorded(WHOLE).len(), 1);
    world.recorder.keep([&plugin("acme", None)].into_iter());
    // Of a message that was being judged meanwhile.
    says(&handle, Arc::new(b"..Hello\r\n".to_vec()));
    world.recorder.flush();
    assert!(!world.root.path().join("acme.list").exists());
    assert_eq!(handle.counts(), (1, 1));
    assert!(world.recorder.handle(&plugin("acme", None), DIGEST).is_none());
}
