use std::sync::mpsc;

use relevo_mailkit::policy::{Decision, HeaderField, Verdict};
use relevo_mailkit::source::Source;

use super::super::segments::find;
use super::*;
use crate::{test_message, test_settings};

const DIGEST: &str = "0123456789012345678901234567890123456789012345678901234567890123";
const WHOLE: RecordSettings = RecordSettings { messages: 1_000, octets: 64 << 20, unredacted: true };

fn place(record: Option<RecordSettings>) -> Arc<PluginSettings> {
    test_settings::place("acme", |settings| settings.record = record)
}

struct World {
    root: tempfile::TempDir,
    recorder: Arc<Recorder>,
}

impl World {
    fn new(record: RecordSettings) -> (Self, Tap) {
        let root = tempfile::tempdir().expect("a directory");
        let recorder = Recorder::start(root.path().to_owned()).expect("a thread");
        let place = place(Some(record));
        recorder.keep([&place].into_iter());
        let tap = recorder.tap(&place, DIGEST).expect("recorded");
        (Self { root, recorder }, tap)
    }

    fn recorded(&self, record: RecordSettings) -> Vec<Recording> {
        self.recorder.flush().blocking_recv().expect("the thread goes on");
        let (frames, damaged) = find(&self.root.path().join("acme.list"), record).expect("readable");
        assert_eq!(damaged, 0);
        let decoded = |content: Vec<u8>| postcard::from_bytes(&content).expect("a recording");
        frames.into_iter().map(|frame| decoded(frame.read().expect("whole"))).collect()
    }
}

fn says(tap: &Tap, body: Arc<dyn Source>) {
    let case = test_message::cases("acme", 7, &None).remove(0);
    let answer = Answer::Verdicts((&Decision::from(Verdict::Accept)).into());
    let noted = tap.noted(&Arc::new(KvData::default()));
    tap.record(case.message, Body { source: body, offset: 2 }, noted, answer);
}

#[test]
fn what_a_verdict_depends_on_is_written() {
    let (world, tap) = World::new(WHOLE);
    says(&tap, Arc::new(b"..Hello\r\n".to_vec()));
    let too_large = usize::try_from(MAX_BODY).expect("in memory") + 3;
    says(&tap, Arc::new(vec![b'x'; too_large]));
    let recorded = world.recorded(WHOLE);
    let [first, large] = recorded.as_slice() else { panic!("{recorded:?}") };
    assert_eq!(first.message, *test_message::cases("acme", 7, &None)[0].message);
    assert_eq!((&first.body, first.redacted), (&KeptBody::Whole(b"Hello\r\n".to_vec()), false));
    assert_eq!(Some(first.digest), parse_digest(DIGEST));
    assert_eq!(large.body, KeptBody::LeftOut, "too large");
    assert_eq!((tap.counts.read(), tap.listed()["messages"].as_u64()), ((2, 0), Some(2)));
}

#[test]
fn redaction_is_not_forgotten() {
    let redacted = RecordSettings { unredacted: false, ..WHOLE };
    let (world, tap) = World::new(redacted);
    says(&tap, Arc::new(b"..Hello\r\n".to_vec()));
    let recorded = world.recorded(redacted);
    assert!(recorded[0].redacted && recorded[0].body == KeptBody::LeftOut);
    assert!(!recorded[0].message.envelope.sender.contains("example"));
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
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).recv();
        buf.fill(b'x');
        Ok(buf.len())
    }
}

#[test]
fn what_is_too_much_is_dropped_and_counted_and_nobody_waits() {
    let (world, tap) = World::new(WHOLE);
    let (go, stuck) = mpsc::channel();
    says(&tap, Arc::new(Stuck(Mutex::new(stuck))));
    let more = (WAITING / SHARE) as u64 + 50;
    for _ in 0..more {
        says(&tap, Arc::new(b"..Hello\r\n".to_vec()));
    }
    assert!((49..=51).contains(&tap.counts.read().1), "{:?}", tap.counts.read());
    drop(go);
    world.recorder.flush().blocking_recv().expect("the thread goes on");
    let (written, dropped) = tap.counts.read();
    assert_eq!(written + dropped, more + 1);

    // Octets are bounded too.
    let (go, stuck) = mpsc::channel();
    says(&tap, Arc::new(Stuck(Mutex::new(stuck))));
    let large: Arc<dyn Source> = Arc::new(vec![b'x'; 1 << 20]);
    for _ in 0..20 {
        says(&tap, Arc::clone(&large));
    }
    assert!(tap.counts.read().1 - dropped >= 5, "{:?}", tap.counts.read());
    drop(go);
    world.recorder.flush().blocking_recv().expect("the thread goes on");
    for waiting in [&world.recorder.waiting, &tap.share] {
        let left = (waiting.messages.load(Ordering::Relaxed), waiting.octets.load(Ordering::Relaxed));
        assert_eq!(left, (0, 0));
    }
}

#[test]
fn one_tenant_leaves_room_for_others() {
    let (world, tap) = World::new(WHOLE);
    let other = test_settings::place("other", |settings| settings.record = Some(WHOLE));
    world.recorder.keep([&place(Some(WHOLE)), &other].into_iter());
    let others = world.recorder.tap(&other, DIGEST).expect("recorded");
    let (go, stuck) = mpsc::channel();
    says(&tap, Arc::new(Stuck(Mutex::new(stuck))));
    for _ in 0..WAITING {
        says(&tap, Arc::new(b"..Hello\r\n".to_vec()));
    }
    for _ in 0..10 {
        says(&others, Arc::new(b"..Hello\r\n".to_vec()));
    }
    assert!(tap.counts.read().1 > 0);
    drop(go);
    world.recorder.flush().blocking_recv().expect("the thread goes on");
    assert_eq!(others.counts.read(), (10, 0));
}

/// What was recorded before a message that is too large stays in its segment, and what comes after it follows there.
#[test]
fn what_is_too_large_begins_no_segment() {
    let (world, tap) = World::new(WHOLE);
    for n in 0..6 {
        let case = test_message::cases("acme", 7, &None).remove(0);
        let mut message = (*case.message).clone();
        if n % 2 == 1 {
            message.headers.push(HeaderField { name: "X".into(), value: vec![b'x'; 4 << 20] });
        }
        let answer = Answer::Verdicts((&Decision::from(Verdict::Accept)).into());
        // As if a share were all there is: it is about the file.
        let noted = tap.noted(&Arc::new(KvData::default()));
        let (body, octets) = (Some(Body { source: Arc::new(Vec::new()), offset: 0 }), 0);
        let input = Input { message: Arc::new(message), body, noted, answer, tap: tap.clone(), octets };
        let (waiting, share) = (&world.recorder.waiting, &tap.share);
        assert!(waiting.enter(0, 1) && share.enter(0, SHARE));
        world.recorder.sender.send(Job::Record(Box::new(input))).expect("the thread goes on");
    }
    world.recorder.flush().blocking_recv().expect("the thread goes on");
    let directory = world.root.path().join("acme.list");
    let segments = fs::read_dir(directory)
        .expect("ours")
        .filter(|e| e.as_ref().is_ok_and(|e| e.path().extension().is_some_and(|kind| kind == "whole")));
    assert_eq!((tap.counts.read(), segments.count()), ((3, 3), 1));
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
fn the_body_of_what_is_redacted_is_not_kept() {
    let redacted = RecordSettings { unredacted: false, ..WHOLE };
    let (world, tap) = World::new(redacted);
    let (go, stuck) = mpsc::channel::<()>();
    // Nothing waits for a body that is not recorded.
    says(&tap, Arc::new(Stuck(Mutex::new(stuck))));
    let body: Arc<dyn Source> = Arc::new(Untouched);
    says(&tap, Arc::clone(&body));
    assert_eq!(Arc::strong_count(&body), 1);
    assert_eq!(world.recorded(redacted).len(), 2);
    drop(go);
}

#[test]
fn a_stray_file_does_not_keep_what_is_not_wanted() {
    let (world, _tap) = World::new(WHOLE);
    let root = world.root.path();
    for name in ["0", "a", "z", "notes.txt"] {
        fs::write(root.join(name), "stray").expect("ours");
        fs::create_dir(root.join(format!("old.{name}"))).expect("ours");
        fs::write(root.join(format!("old.{name}/1.whole")), "of somebody").expect("ours");
    }
    std::os::unix::fs::symlink("/nowhere", root.join("link")).expect("ours");
    world.recorder.keep([&place(Some(WHOLE))].into_iter());
    world.recorder.flush().blocking_recv().expect("the thread goes on");
    let left: Vec<_> = fs::read_dir(root).expect("ours").map(|e| e.expect("ours").file_name()).collect();
    assert_eq!(left, ["acme.list"]);
}

#[test]
fn what_is_not_wanted_any_more_goes_and_does_not_come_back() {
    let (world, tap) = World::new(WHOLE);
    says(&tap, Arc::new(b"..Hello\r\n".to_vec()));
    assert_eq!(world.recorded(WHOLE).len(), 1);
    world.recorder.keep([&place(None)].into_iter());
    // Of a message that was being judged meanwhile.
    says(&tap, Arc::new(b"..Hello\r\n".to_vec()));
    world.recorder.flush().blocking_recv().expect("the thread goes on");
    assert!(!world.root.path().join("acme.list").exists());
    assert_eq!(tap.counts.read(), (1, 1));
    assert!(world.recorder.tap(&place(None), DIGEST).is_none());
}
