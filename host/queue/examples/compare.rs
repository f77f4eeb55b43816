//! Which store for the index? Group commit of 4 KiB messages under one sync per group, in the shapes that came into
//! question. `cargo run --release -p relevo-queue --example compare [DIR] [SECONDS]`; the figures are in `DESIGN.md`.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

type Failure = Box<dyn std::error::Error>;

const BODY: usize = 4096;
/// What an item and its delivery take in the index.
const RECORD: usize = 400;
const ITEMS: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("items");
const BODIES: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("bodies");

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let base = args.next().map_or_else(std::env::temp_dir, Into::into);
    let seconds = args.next().map_or(Ok(4), |s| s.parse())?;
    let dir = tempfile::tempdir_in(base)?;
    let span = Duration::from_secs(seconds);
    println!("{:34} {:>6} {:>10} {:>9} {:>9}", "shape", "group", "accepts/s", "p50 ms", "p99 ms");
    for group in [1, 20, 100] {
        let at = |name: &str| dir.path().join(format!("{name}-{group}"));
        report("redb, bodies inline", group, span, redb_shape(&at("inline"), Shape::Inline, false)?)?;
        report(
            "redb, bodies inline, quick repair",
            group,
            span,
            redb_shape(&at("quick"), Shape::Inline, true)?,
        )?;
        report(
            "redb and body segment, 2 syncs",
            group,
            span,
            redb_shape(&at("segment"), Shape::Segment, false)?,
        )?;
        report("log synced, redb checkpoint per s", group, span, redb_shape(&at("log"), Shape::Log, false)?)?;
        report("fjall, bodies inline", group, span, fjall_shape(&at("fjall"), false)?)?;
        report("fjall and body segment, 2 syncs", group, span, fjall_shape(&at("fjallseg"), true)?)?;
    }
    Ok(())
}

/// Commits a group whose first key is the argument.
type Commit = Box<dyn FnMut(u64, &[u8]) -> Result<(), Failure>>;

fn report(shape: &str, group: usize, span: Duration, mut commit: Commit) -> Result<(), Failure> {
    let payload: Vec<u8> = (0..group * BODY).map(|i| (i * 31).to_le_bytes()[0]).collect();
    let (start, mut next, mut took) = (Instant::now(), 0, Vec::new());
    while start.elapsed() < span {
        let begin = Instant::now();
        commit(next, &payload)?;
        took.push(begin.elapsed());
        next += group as u64;
    }
    let rate = next as f64 / start.elapsed().as_secs_f64();
    took.sort_unstable();
    let ms = |q: usize| took[(took.len() * q / 100).min(took.len() - 1)].as_secs_f64() * 1e3;
    println!("{shape:34} {group:>6} {rate:>10.0} {:>9.2} {:>9.2}", ms(50), ms(99));
    Ok(())
}

#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Inline,
    Segment,
    Log,
}

fn segment(dir: &Path) -> Result<File, Failure> {
    std::fs::create_dir_all(dir)?;
    Ok(OpenOptions::new().create(true).append(true).open(dir.join("segment"))?)
}

fn redb_shape(dir: &Path, shape: Shape, quick: bool) -> Result<Commit, Failure> {
    let mut log = segment(dir)?;
    let db = redb::Builder::new().set_cache_size(16 << 20).create(dir.join("index.redb"))?;
    let mut checkpoint = Instant::now();
    Ok(Box::new(move |first, payload| {
        if shape != Shape::Inline {
            log.write_all(payload)?;
            if shape == Shape::Log {
                log.write_all(&payload[..payload.len() / BODY * RECORD])?;
            }
            log.sync_data()?;
        }
        let mut txn = db.begin_write()?;
        txn.set_quick_repair(quick);
        if shape == Shape::Log && checkpoint.elapsed() < Duration::from_secs(1) {
            txn.set_durability(redb::Durability::None)?;
        } else {
            checkpoint = Instant::now();
        }
        {
            let (mut items, mut bodies) = (txn.open_table(ITEMS)?, txn.open_table(BODIES)?);
            for (i, body) in payload.chunks(BODY).enumerate() {
                let key = (first + i as u64).to_be_bytes();
                items.insert(key.as_slice(), &body[..RECORD])?;
                if shape == Shape::Inline {
                    bodies.insert(key.as_slice(), body)?;
                }
            }
        }
        txn.commit()?;
        Ok(())
    }))
}

fn fjall_shape(dir: &Path, segmented: bool) -> Result<Commit, Failure> {
    let mut log = segment(dir)?;
    let db = fjall::Database::builder(dir.join("fjall")).open()?;
    let items = db.keyspace("items", fjall::KeyspaceCreateOptions::default)?;
    let bodies = db.keyspace("bodies", || {
        fjall::KeyspaceCreateOptions::default()
            .with_kv_separation(Some(fjall::KvSeparationOptions::default()))
    })?;
    Ok(Box::new(move |first, payload| {
        if segmented {
            log.write_all(payload)?;
            log.sync_data()?;
        }
        let mut batch = db.batch().durability(Some(fjall::PersistMode::SyncData));
        for (i, body) in payload.chunks(BODY).enumerate() {
            let key = (first + i as u64).to_be_bytes();
            batch.insert(&items, key, &body[..RECORD]);
            if !segmented {
                batch.insert(&bodies, key, body);
            }
        }
        batch.commit()?;
        Ok(())
    }))
}
