#![allow(clippy::unwrap_used, reason = "tests")]

use tokio::time::Instant;

use super::*;

/// Answers with what was asked, in its time.
struct Echo(Duration);

#[async_trait]
impl Answering for Echo {
    async fn answer(&self, content: &[u8]) -> Result<Vec<u8>, WireError> {
        sleep(self.0).await;
        match content {
            b"unreadable" => Err(WireError::Unreadable),
            content => Ok(content.to_vec()),
        }
    }
}

fn secret(letter: &str) -> ClusterSecret {
    ClusterSecret::new(&letter.repeat(32)).unwrap()
}

/// A node that answers at once about slices, and in a while about shards.
async fn node() -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (slices, stores) = (Arc::new(Echo(Duration::ZERO)), Arc::new(Echo(Duration::from_millis(300))));
    (address, tokio::spawn(serve(listener, secret("s"), Answers { slices, stores })))
}

async fn asked(address: &str, letter: &str, kind: QuestionKind, content: &[u8]) -> Result<Vec<u8>, AskError> {
    ask(address, &secret(letter), kind, content).await
}

#[tokio::test]
async fn a_question_is_answered_and_another_secret_is_not() {
    let (address, serving) = node().await;
    for kind in [QuestionKind::Slices, QuestionKind::Store] {
        assert_eq!(asked(&address, "s", kind, b"who").await, Ok(b"who".to_vec()));
        let other = asked(&address, "t", kind, b"who").await;
        assert!(matches!(other, Err(AskError::NotAnswered(_))), "{other:?}");
        let unreadable = asked(&address, "s", kind, b"unreadable").await;
        assert!(matches!(unreadable, Err(AskError::NotAnswered(_))), "{unreadable:?}");
    }
    serving.abort();
    let _ = serving.await;
    let gone = asked(&address, "s", QuestionKind::Store, b"who").await;
    assert!(matches!(gone, Err(AskError::NotAsked(_))), "{gone:?}");
}

#[tokio::test]
async fn a_question_that_is_sent_again_is_not_answered() {
    let (address, serving) = node().await;
    let mut sent = Vec::new();
    for is_first in [true, false] {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let mut nonce = Nonce::default();
        stream.read_exact(&mut nonce).await.unwrap();
        if is_first {
            let kind = QuestionKind::Slices;
            sent = secret("s").seal_question(kind, (&nonce, &[7; 16]), b"who").unwrap().0;
        }
        write_message(&mut stream, Some(QuestionKind::Slices), &sent).await.unwrap();
        let reply = read_message(&mut stream, 1 << 20).await;
        assert_eq!(reply.is_ok(), is_first, "{reply:?}");
    }
    serving.abort();
}

#[tokio::test]
async fn who_sends_nothing_too_much_or_anything_else_is_dropped() {
    let (address, serving) = node().await;
    let begin = async |octets: &[u8]| {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.read_exact(&mut Nonce::default()).await.unwrap();
        stream.write_all(octets).await.unwrap();
        stream
    };
    for octets in [[9; 5], [1, 255, 255, 255, 255], [2, 0, 16, 0, 1]] {
        let mut dropped = begin(&octets).await;
        assert_eq!(dropped.read(&mut [0]).await.unwrap_or(0), 0, "{octets:?}");
    }
    let began = Instant::now();
    let mut slow = begin(&[]).await;
    assert_eq!(slow.read(&mut [0]).await.unwrap_or(0), 0);
    assert!(began.elapsed() < BEGINS * 3, "{:?}", began.elapsed());
    serving.abort();
}

#[tokio::test]
async fn questions_about_shards_do_not_keep_slices_out() {
    let (address, serving) = node().await;
    // They say that they are long, and send nothing more.
    let mut stuck = Vec::new();
    for _ in 0..STORES {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.read_exact(&mut Nonce::default()).await.unwrap();
        stream.write_all(&[QuestionKind::Store.octet(), 0, 0, 1, 0]).await.unwrap();
        stuck.push(stream);
    }
    let mut refused = Ok(Vec::new());
    for _ in 0..50 {
        refused = asked(&address, "s", QuestionKind::Store, b"who").await;
        if refused.is_err() {
            break;
        }
    }
    assert!(refused.is_err(), "as many as are served at once are there");
    assert_eq!(asked(&address, "s", QuestionKind::Slices, b"who").await, Ok(b"who".to_vec()));
    drop(stuck);
    let mut served = Err(AskError::NotAsked(String::new()));
    for _ in 0..50 {
        served = asked(&address, "s", QuestionKind::Store, b"who").await;
        if served.is_ok() {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(served, Ok(b"who".to_vec()), "they are gone");
    serving.abort();
}
