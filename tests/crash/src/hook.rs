//! A webhook endpoint that keeps what it is told. It fails now and then, so that it is told again.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;

/// One request in so many is answered 500 although it was read.
const FAILS: u64 = 50;

/// Ids of deliveries by the cursor of their event.
type Told = BTreeMap<String, Vec<String>>;

/// The endpoint.
pub(crate) struct Hook {
    address: SocketAddr,
    told: Arc<Mutex<Told>>,
}

impl Hook {
    pub(crate) fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let told: Arc<Mutex<Told>> = Arc::default();
        let (kept, requests) = (Arc::clone(&told), Arc::new(AtomicU64::new(0)));
        std::thread::Builder::new().name("hook".to_owned()).spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, requests) = (Arc::clone(&kept), Arc::clone(&requests));
                // A connection that breaks is the relay's, which was killed.
                std::thread::spawn(move || drop(serve(&stream, &kept, &requests)));
            }
        })?;
        Ok(Self { address, told })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock()
    }
}

fn serve(stream: &TcpStream, told: &Mutex<Told>, requests: &AtomicU64) -> Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut id, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            if line.trim_end().is_empty() { break } else { continue }
        };
        match name.to_ascii_lowercase().as_str() {
            "webhook-id" => id = value.trim().to_owned(),
            "content-length" => length = value.trim().parse()?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body: Value = serde_json::from_slice(&body)?;
    let cursor = body["data"]["cursor"].as_str().context("no cursor")?.to_owned();
    told.lock().entry(cursor).or_default().push(id);
    let status = match requests.fetch_add(1, Ordering::Relaxed) % FAILS {
        0 => "500 Internal Server Error",
        _ => "200 OK",
    };
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    Ok(())
}
