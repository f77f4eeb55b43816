//! Whether what a 250 promises was synced before the 250 was written: read from a trace, for each
//! message by itself.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use relevo_queue::ItemId;

use crate::trace::Call;

/// What the relay says when a message is in its queue.
const QUEUED: &[u8] = b"250 2.0.0 queued as ";

/// An acknowledgement in the trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Acknowledgement {
    pub(crate) id: ItemId,
    /// When the relay began to write it.
    pub(crate) at: usize,
}

/// Every 250 for a message, in order.
pub(crate) fn acknowledgements(calls: &[Call]) -> Vec<Acknowledgement> {
    let mut found = Vec::new();
    for call in calls.iter().filter(|c| matches!(c.name.as_str(), "sendto" | "write")) {
        let Ok(octets) = call.octets(1) else { continue };
        for at in positions(octets, QUEUED) {
            let id = octets.get(at + QUEUED.len()..).and_then(|rest| rest.get(..26));
            let id = id.and_then(|id| std::str::from_utf8(id).ok()).and_then(|id| id.parse().ok());
            found.extend(id.map(|id| Acknowledgement { id, at: call.began }));
        }
    }
    found
}

/// Where a message was written and when that was synced, as places in the trace.
#[derive(Debug)]
pub(crate) struct Proof {
    pub(crate) file: PathBuf,
    /// End of the last write of the body, and end of the sync that covers it.
    pub(crate) body: (usize, usize),
    /// The same for the row of the index.
    pub(crate) index: (usize, usize),
    pub(crate) acknowledged: usize,
}

/// Finds the writes of a message by its marker and its id, and a sync between each of them and the
/// 250.
///
/// # Errors
/// There is none: a 250 was written for what a loss of power would have taken.
pub(crate) fn prove(calls: &[Call], data: &Path, marker: &[u8], said: Acknowledgement) -> Result<Proof> {
    let trace = Before { calls, until: said.at };
    let first = trace.write(|file, octets| file.starts_with(data) && contains(octets, marker));
    let first = first.context("its content was not written before the 250")?;
    let file = first.file(0)?.clone();
    let body = if file.starts_with(data.join("spool")) {
        trace.own_file(&file, &data.join("bodies"))?
    } else {
        trace.segment(&file, first)?
    };
    let index = data.join("index.redb");
    let row = trace.write(|file, octets| *file == index && contains(octets, &said.id.0));
    let row = row.context("its row of the index was not written before the 250")?.ended;
    let index =
        (row, trace.synced(&index, row).context("its row of the index was not synced before the 250")?);
    ensure!(body.1 < row, "the index referred to a body that was not synced yet");
    Ok(Proof { file, body, index, acknowledged: said.at })
}

/// What had returned before a place in the trace.
struct Before<'a> {
    calls: &'a [Call],
    until: usize,
}

impl<'a> Before<'a> {
    fn calls(&self) -> impl Iterator<Item = &'a Call> {
        let until = self.until;
        self.calls.iter().filter(move |c| c.succeeded() && c.ended < until)
    }

    fn write(&self, wanted: impl Fn(&PathBuf, &[u8]) -> bool) -> Option<&'a Call> {
        self.calls().filter(|c| matches!(c.name.as_str(), "pwrite64" | "write")).find(|c| {
            let (file, octets) = (c.file(0), c.octets(1));
            file.is_ok() && octets.is_ok_and(|octets| file.is_ok_and(|file| wanted(file, octets)))
        })
    }

    /// The end of the first sync of a file or directory that began after `after`.
    fn synced(&self, path: &Path, after: usize) -> Option<usize> {
        let sync = |c: &&Call| matches!(c.name.as_str(), "fdatasync" | "fsync") && c.began > after;
        self.calls().filter(sync).find(|c| c.file(0).is_ok_and(|file| file == path)).map(|c| c.ended)
    }

    /// A frame in a segment: the segment, and when it was made in this run its directory too.
    fn segment(&self, file: &Path, written: &Call) -> Result<(usize, usize)> {
        let synced = self.synced(file, written.ended).context("its segment was not synced before the 250")?;
        let made = |c: &&Call| {
            c.name == "openat" && c.has_flag(2, "O_CREAT") && c.path(1).is_ok_and(|path| path == file)
        };
        if let Some(made) = self.calls().find(made) {
            let directory = file.parent().context("a file without a directory")?;
            self.synced(directory, made.ended)
                .context("the name of its segment was not synced before the 250")?;
        }
        Ok((written.ended, synced))
    }

    /// A file of its own: all of it, and its name after it was moved to where it stays.
    fn own_file(&self, file: &Path, bodies: &Path) -> Result<(usize, usize)> {
        let renamed =
            |c: &&Call| c.name.starts_with("rename") && moves(c).is_some_and(|(from, _)| from == file);
        let renamed =
            self.calls().find(renamed).context("its file was not moved to its place before the 250")?;
        let (_, to) = moves(renamed).context("a rename")?;
        ensure!(to.starts_with(bodies), "its file was moved to {}", to.display());
        let writes = self.calls().filter(|c| c.name == "pwrite64" && c.file(0).is_ok_and(|f| f == file));
        let last = writes.map(|c| c.ended).max().context("its file was not written")?;
        ensure!(last < renamed.began, "its file was moved before it was whole");
        self.synced(file, last).context("its file was not synced before the 250")?;
        let named =
            self.synced(bodies, renamed.ended).context("its file's name was not synced before the 250")?;
        Ok((last, named))
    }
}

/// From and to of a rename.
pub(crate) fn moves(call: &Call) -> Option<(PathBuf, PathBuf)> {
    let (from, to) = if call.name == "rename" { (0, 1) } else { (1, 3) };
    Some((call.path(from).ok()?, call.path(to).ok()?))
}

pub(crate) fn contains(octets: &[u8], what: &[u8]) -> bool {
    positions(octets, what).next().is_some()
}

fn positions(octets: &[u8], what: &[u8]) -> impl Iterator<Item = usize> {
    let first = what.first().copied();
    octets
        .iter()
        .enumerate()
        .filter(move |(_, octet)| Some(**octet) == first)
        .filter(move |(at, _)| octets.get(*at..*at + what.len()) == Some(what))
        .map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    const ID: &str = "01M81707BPXASHXG2FZKRMPBKJ";

    fn hex(octets: &[u8]) -> String {
        octets.iter().fold(String::new(), |mut text, octet| {
            let _ = write!(text, "\\x{octet:02x}");
            text
        })
    }

    /// A small and a large message as the relay stores them.
    fn honest(large: bool) -> Vec<String> {
        let id: ItemId = ID.parse().expect("an id");
        let row = hex(&[b"row ", &id.0[..], b" end"].concat());
        let said = hex(format!("250 2.0.0 queued as {ID}\r\n").as_bytes());
        let mark = hex(b"..mark-1..");
        let body = if large {
            vec![
                "openat(AT_FDCWD</>, \"/d/spool/x\", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 9</d/spool/x>"
                    .to_owned(),
                format!("pwrite64(9</d/spool/x>, \"{mark}\", 10, 0) = 10"),
                format!("pwrite64(9</d/spool/x>, \"{}\", 1, 10) = 1", hex(b"z")),
                "fdatasync(9</d/spool/x>) = 0".to_owned(),
                format!("rename(\"/d/spool/x\", \"/d/bodies/{ID}\") = 0"),
                "fsync(10</d/bodies>) = 0".to_owned(),
            ]
        } else {
            vec![
                "openat(AT_FDCWD</>, \"/d/segments/0.seg\", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 9</d/segments/0.seg>"
                    .to_owned(),
                format!("pwrite64(9</d/segments/0.seg>, \"{mark}\", 10, 0) = 10"),
                "fdatasync(9</d/segments/0.seg>) = 0".to_owned(),
                "fsync(10</d/segments>) = 0".to_owned(),
            ]
        };
        let index = [
            format!("pwrite64(5</d/index.redb>, \"{row}\", 10, 0) = 10"),
            "fdatasync(5</d/index.redb>) = 0".to_owned(),
            format!("sendto(7<socket:[1]>, \"{said}\", 48, MSG_NOSIGNAL, NULL, 0) = 48"),
        ];
        body.into_iter().chain(index).collect()
    }

    fn judge(lines: &[String]) -> Result<Proof> {
        let text = lines.iter().fold(String::new(), |text, line| text + "1 " + line + "\n");
        let calls = crate::trace::read(text.as_bytes())?;
        let said = acknowledgements(&calls);
        ensure!(said.len() == 1, "{} acknowledgements", said.len());
        prove(&calls, Path::new("/d"), b"mark-1", said[0])
    }

    #[test]
    fn an_honest_trace_is_a_proof() {
        for large in [false, true] {
            let proof = judge(&honest(large)).expect("a proof");
            assert!(proof.body.1 < proof.index.0 && proof.index.1 < proof.acknowledged, "{proof:?}");
        }
    }

    /// The negative control: a relay that leaves out, fails or postpones any sync is found.
    #[test]
    fn every_missing_sync_is_found() {
        for large in [false, true] {
            let lines = honest(large);
            let syncs: Vec<usize> = (0..lines.len()).filter(|n| lines[*n].contains("sync(")).collect();
            assert_eq!(syncs.len(), 3);
            for sync in syncs {
                let mut left_out = lines.clone();
                left_out.remove(sync);
                assert!(judge(&left_out).is_err(), "without {}", lines[sync]);
                let mut failed = lines.clone();
                failed[sync] = failed[sync].replace("= 0", "= -1 EIO (Input/output error)");
                assert!(judge(&failed).is_err(), "failed {}", lines[sync]);
                let mut late = lines.clone();
                let moved = late.remove(sync);
                late.push(moved);
                assert!(judge(&late).is_err(), "late {}", lines[sync]);
            }
        }
    }

    #[test]
    fn a_sync_that_runs_beside_the_write_proves_nothing() {
        let mut lines = honest(false);
        let write = lines[1].replace(") = 10", " <unfinished ...>");
        let text = [
            format!("1 {}", lines.remove(0)),
            format!("1 {write}"),
            "2 fdatasync(9</d/segments/0.seg> <unfinished ...>".to_owned(),
            "1 <... pwrite64 resumed>) = 10".to_owned(),
            "2 <... fdatasync resumed>) = 0".to_owned(),
        ];
        let rest = lines[2..].iter().map(|l| format!("1 {l}"));
        let text = text.into_iter().chain(rest).collect::<Vec<_>>().join("\n");
        let calls = crate::trace::read(text.as_bytes()).expect("a trace");
        let said = acknowledgements(&calls)[0];
        assert!(prove(&calls, Path::new("/d"), b"mark-1", said).is_err());
    }
}
