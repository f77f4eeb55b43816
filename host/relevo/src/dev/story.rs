//! `relevo dev --once`: one sample through the whole relay, told in the terminal.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use relevo_http::inbox::{Captured, Inbox};
use relevo_relay::clock::Clock;
use relevo_runtime::Stages;

use super::{sample, setup};
use crate::escape::Escaped;

/// How long the sample may take; a first start on a slow machine is included.
const PATIENCE: Duration = Duration::from_secs(30);

/// Submits the sample over SMTP, waits for it in the inbox, prints what became of it.
///
/// # Errors
/// Anything but a message that arrived with signatures that verify.
pub(crate) async fn tell(
    stages: &dyn Stages,
    clock: &dyn Clock,
    inbox: &Inbox,
    smtp: SocketAddr,
) -> anyhow::Result<()> {
    let mut seed = [0; 12];
    getrandom::fill(&mut seed).map_err(|e| anyhow::anyhow!("the system gives no randomness: {e}"))?;
    let seed = relevo_mailkit::hex::encode(&seed);

    let began = Instant::now();
    let message = sample::build(stages, clock.now() / 1_000, &seed)?;
    println!(
        "template   {:>8}  MJML and variables became a message of {} octets",
        took(began),
        message.len()
    );

    let began = Instant::now();
    let reply = tokio::task::block_in_place(|| submit(smtp, &message))?;
    println!(
        "submit     {:>8}  over SMTP to {smtp} as `{}`: {}",
        took(began),
        setup::USER,
        Escaped(reply.trim())
    );

    let arrived = wait(inbox).await?;
    println!("deliver    {:>8}  arrived as message {} for {}", took(began), arrived.n, arrived.to.join(", "));
    println!("\nStage by stage:");
    for stage in &arrived.stages {
        println!("  {:<10} {:>7} us  {}", stage.name, stage.micros, Escaped(&stage.summary));
    }
    changes(&message, &arrived);
    verdicts(&arrived)
}

fn took(began: Instant) -> String {
    format!("{:.1} ms", began.elapsed().as_secs_f64() * 1_000.0)
}

async fn wait(inbox: &Inbox) -> anyhow::Result<Arc<Captured>> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if let Some(message) = inbox.list().last() {
            return Ok(message.clone());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bail!("the sample was accepted but did not arrive within {} s", PATIENCE.as_secs())
}

/// The lines that differ, as in a diff without context.
fn changes(before: &[u8], after: &Captured) {
    let lines = |raw: &[u8]| -> Vec<String> {
        raw.split(|b| *b == b'\n').map(|l| String::from_utf8_lossy(l).trim_end().to_owned()).collect()
    };
    let (before, after_lines) = (lines(before), lines(&after.raw));
    let shown = |line: &str| {
        let short: String = line.replace('\t', " ").chars().take(140).collect();
        format!("{}{}", Escaped(&short), if short.len() < line.len() { " ..." } else { "" })
    };
    println!("\nWhat changed on the way (- as submitted, + as it arrived):");
    for line in before.iter().filter(|l| !after_lines.contains(l)) {
        println!("  - {}", shown(line));
    }
    for line in after_lines.iter().filter(|l| !before.contains(l)) {
        println!("  + {}", shown(line));
    }
}

fn verdicts(arrived: &Captured) -> anyhow::Result<()> {
    println!("\nSignatures, checked against the public keys:");
    for s in &arrived.signatures {
        println!(
            "  {:<4} d={} s={} a={}",
            Escaped(&s.detail),
            Escaped(&s.domain),
            Escaped(&s.selector),
            Escaped(&s.algorithm)
        );
    }
    ensure!(!arrived.signatures.is_empty(), "the message arrived without a signature");
    ensure!(arrived.signatures.iter().all(|s| s.pass), "a signature does not verify");
    Ok(())
}

/// A client's side of one submission (RFC 5321, RFC 4954).
fn submit(smtp: SocketAddr, message: &[u8]) -> anyhow::Result<String> {
    let stream = TcpStream::connect(smtp)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut replies = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    expect(&mut replies, "2")?;
    let login = STANDARD.encode(format!("\0{user}\0{user}", user = setup::USER));
    let dialogue = [
        ("EHLO sample.test".to_owned(), "2"),
        (format!("AUTH PLAIN {login}"), "2"),
        (format!("MAIL FROM:<{}>", sample::sender()), "2"),
        (format!("RCPT TO:<{}>", sample::RECIPIENT), "2"),
        ("DATA".to_owned(), "3"),
    ];
    for (command, class) in dialogue {
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        expect(&mut replies, class)
            .with_context(|| command.split(' ').next().unwrap_or_default().to_owned())?;
    }
    let mut stuffed = Vec::with_capacity(message.len() + 16);
    for line in message.split_inclusive(|b| *b == b'\n') {
        if line.starts_with(b".") {
            stuffed.push(b'.');
        }
        stuffed.extend_from_slice(line);
    }
    stuffed.extend_from_slice(b".\r\n");
    stream.write_all(&stuffed)?;
    let reply = expect(&mut replies, "2").context("final dot")?;
    stream.write_all(b"QUIT\r\n")?;
    expect(&mut replies, "2")?;
    Ok(reply)
}

/// The last line of a reply of this class.
fn expect(replies: &mut impl BufRead, class: &str) -> anyhow::Result<String> {
    loop {
        let mut line = String::new();
        ensure!(replies.read_line(&mut line)? > 0, "the relay closed the connection");
        if line.as_bytes().get(3) != Some(&b'-') {
            ensure!(line.starts_with(class), "the relay answered {}", Escaped(line.trim()));
            return Ok(line);
        }
    }
}
