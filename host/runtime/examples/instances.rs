//! What a call costs with a fresh instance and with instances that serve several calls.
//!
//! `cargo xtask build --release && cargo run --release -p relevo-runtime --example instances [messages]`
//!
//! CPU time is that of the guest threads: instantiation, the calls, the checks of the answers, and giving the instance back.

use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use relevo_mailkit::model::{
    Algorithm, Canonicalization, SignatureRequest, TemplateLimits, TemplateSource, TrackOptions,
    ValidateOptions,
};
use relevo_mailkit::source::Source;
use relevo_runtime::{Runtime, RuntimeConfig, Stage, StageStats, Stages};

fn message(size: usize) -> Vec<u8> {
    let mut text = String::from(
        "From: Shop <shop@example.com>\r\nTo: Ana <ana@example.net>\r\nSubject: Your order\r\n\
         Date: Sun, 22 Nov 2026 05:34:00 +0000\r\nMessage-ID: <1@example.com>\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/html; charset=utf-8\r\n\r\n",
    );
    let mut line = 0;
    while text.len() < size {
        line += 1;
        let _ = write!(
            text,
            "<p>Line {line}: <a href=\"https://shop.example.com/{line}\">see it</a>, thank you.</p>\r\n"
        );
    }
    text.into_bytes()
}

fn validate_options() -> ValidateOptions {
    ValidateOptions {
        max_size: 50 << 20,
        max_received: 100,
        max_depth: 20,
        max_parts: 1000,
        smtputf8: false,
        hostname: "mta1.example.com".into(),
        now: 1_795_325_640,
        message_id_left: "id".into(),
        downgrade: false,
        list_fields: false,
    }
}

fn request() -> SignatureRequest {
    SignatureRequest {
        domain: "example.com".into(),
        selector: "s1".into(),
        algorithm: Algorithm::RsaSha256,
        header_canonicalization: Canonicalization::Relaxed,
        body_canonicalization: Canonicalization::Relaxed,
        timestamp: 1_795_325_640,
        expiration: None,
    }
}

fn track_options() -> TrackOptions {
    TrackOptions {
        clicks: true,
        opens: true,
        text_links: false,
        url_overhead: 64,
        max_html: 4 << 20,
        max_links: 1000,
        max_link_length: 2048,
        reencode: Vec::new(),
    }
}

async fn once(stages: &Runtime, message: &Arc<dyn Source>) -> Result<(), Box<dyn Error>> {
    let report = stages.validate(validate_options(), Arc::clone(message)).await?.map_err(|r| r.detail)?;
    stages.track(track_options(), report.parts, Arc::clone(message)).await?;
    stages.signing_input(vec![request()], Arc::clone(message), 1_795_325_640).await?;
    let source = TemplateSource {
        subject: "Order {{ n }}".into(),
        html: Some("<p>Order {{ n }}</p>".into()),
        mjml: None,
        text: None,
    };
    let limits = TemplateLimits { max_output: 1 << 20, max_steps: 100_000, max_depth: 32 };
    stages.render(source, r#"{"n":1}"#.into(), limits).await?.map_err(|error| error.message)?;
    Ok(())
}

fn micros(before: StageStats, after: StageStats, messages: u32) -> f64 {
    (after.cpu - before.cpu).as_secs_f64() * 1e6 / f64::from(messages)
}

async fn measure(calls_per_instance: u32, size: usize, messages: u32) -> Result<(), Box<dyn Error>> {
    let config = RuntimeConfig { calls_per_instance, threads: 1, ..RuntimeConfig::beside_executable() };
    let started = Instant::now();
    let stages = Runtime::new(config)?;
    let load = started.elapsed();
    let message: Arc<dyn Source> = Arc::new(message(size));
    for _ in 0..200 {
        once(&stages, &message).await?;
    }
    let before = stages.stats();
    for _ in 0..messages {
        once(&stages, &message).await?;
    }
    print!("{size:>7} octets, {calls_per_instance:>4} calls an instance, load {:>5} ms:", load.as_millis());
    let mut tax = 0.0;
    for ((stage, before), (_, after)) in before.into_iter().zip(stages.stats()) {
        let cost = micros(before, after, messages);
        print!(" {} {cost:>6.1} us", stage.name());
        if matches!(stage, Stage::Validate | Stage::Dkim) {
            tax += cost;
        }
    }
    println!(" | validate + dkim {tax:>6.1} us");
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let messages = std::env::args().nth(1).map_or(Ok(2000), |n| n.parse())?;
    for size in [4 << 10, 100 << 10] {
        // Twice, so that drift of the machine shows.
        for calls in [1, 10, 100, 1000, 1, 10, 100, 1000] {
            measure(calls, size, messages).await?;
        }
    }
    Ok(())
}
