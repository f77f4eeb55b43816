//! Conversations with the sink.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::Instant;

use super::*;

#[derive(Default)]
struct Seen(Mutex<Vec<String>>);

impl Seen {
    fn note(&self, what: String) {
        self.0.lock().expect("no panic").push(what);
    }
}

impl Observer for Seen {
    fn keep(&self) -> usize {
        usize::MAX
    }

    fn recipient(&self, address: &str) {
        self.note(format!("rcpt {address}"));
    }

    fn message(&self, arrival: &Arrival<'_>) {
        let text = String::from_utf8_lossy(arrival.head);
        self.note(format!("{} -> {:?}: {} {text:?}", arrival.sender, arrival.recipients, arrival.octets));
    }

    fn refused(&self, address: &str, permanent: bool) {
        self.note(format!("refused {address} {permanent}"));
    }
}

fn talk(to: SocketAddr, lines: &str) -> Vec<String> {
    let mut stream = TcpStream::connect(to).expect("a sink");
    stream.write_all(lines.as_bytes()).expect("written");
    BufReader::new(stream).lines().map_while(Result::ok).collect()
}

const MESSAGE: &str =
    "MAIL FROM:<a@b.test>\r\nRCPT TO:<r1@x.test>\r\nDATA\r\nSubject: a\r\n\r\n..b\r\n.\r\nQUIT\r\n";

fn sites(domain: &str, seen: &Arc<Seen>) -> (Sites, SocketAddr) {
    let behaviour = Behaviour::parse(&format!("seed = 1\n[[domain]]\n{domain}")).expect("good");
    let behaviour = Arc::new(behaviour);
    let sites = Sites::start(Arc::clone(&behaviour), Arc::clone(seen) as Arc<dyn Observer>).expect("sites");
    let site = behaviour.site("x.test").expect("a site");
    let address = SocketAddr::from((site, sites.port));
    (sites, address)
}

#[test]
fn a_message_is_reported_whole() {
    let seen = Arc::new(Seen::default());
    let to = start(Arc::clone(&seen) as Arc<dyn Observer>).expect("a sink");
    let replies = talk(to, MESSAGE);
    assert_eq!(
        replies.iter().map(|r| &r[..3]).collect::<Vec<_>>(),
        ["220", "250", "250", "354", "250", "221"]
    );
    assert_eq!(
        *seen.0.lock().expect("no panic"),
        ["rcpt r1@x.test", "a@b.test -> [\"r1@x.test\"]: 19 \"Subject: a\\r\\n\\r\\n..b\\r\\n\""]
    );
}

#[test]
fn what_is_refused_is_not_a_message() {
    for (share, class, permanent) in [("temporary", '4', false), ("permanent", '5', true)] {
        let seen = Arc::new(Seen::default());
        let (_sites, to) = sites(&format!("name = \"x.test\"\nprovider = \"small\"\n{share} = 100"), &seen);
        let replies = talk(to, MESSAGE);
        assert!(replies[2].starts_with(class), "{replies:?}");
        assert!(replies[3].starts_with("554"), "{replies:?}");
        let seen = seen.0.lock().expect("no panic");
        assert_eq!(*seen, ["rcpt r1@x.test".to_owned(), format!("refused r1@x.test {permanent}")]);
    }
}

#[test]
fn a_connection_too_many_is_greeted_with_421() {
    let seen = Arc::new(Seen::default());
    let (_sites, to) = sites("name = \"x.test\"\nconnections = 1", &seen);
    let first = TcpStream::connect(to).expect("a sink");
    let mut greeting = String::new();
    BufReader::new(&first).read_line(&mut greeting).expect("a greeting");
    assert!(greeting.starts_with("220"), "{greeting}");
    assert!(talk(to, "")[0].starts_with("421"));
}

#[test]
fn a_slow_reader_takes_its_time() {
    let seen = Arc::new(Seen::default());
    let (_sites, to) = sites("name = \"x.test\"\nread_rate = 20000\nlatency = \"50ms\"", &seen);
    let body = "0123456789abcde\r\n".repeat(400);
    let began = Instant::now();
    let replies = talk(to, &MESSAGE.replace("..b\r\n", &body));
    assert_eq!(replies.last().map(|r| &r[..3]), Some("221"), "{replies:?}");
    // What came with the commands was read before it was known to be content.
    assert!(began.elapsed() >= Duration::from_millis(100), "{:?}", began.elapsed());
}

#[test]
fn a_black_hole_answers_nothing() {
    let seen = Arc::new(Seen::default());
    let text = "name = \"x.test\"\nstate = \"blackhole\"\n[[domain]]\nname = \"y.test\"";
    let (_sites, to) = sites(text, &seen);
    let error = TcpStream::connect_timeout(&to, Duration::from_millis(300)).expect_err("no connection");
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
}
