//! System calls as strace saw them (`strace -f -y -xx`).
//!
//! The tracer stops a thread before and after each call and writes what it saw in one order for all
//! threads. What a call did, it did between its [`Call::began`] and its [`Call::ended`]: a call
//! that ended before another began took effect first.

mod line;

use std::collections::HashMap;
use std::io::BufRead;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use self::line::{Line, parse_line};

/// What changes files, makes changes durable, answers clients, or would do either behind our back.
pub(crate) const CALLS: &[&str] = &[
    "?open",
    "openat",
    "openat2",
    "?creat",
    "?mkdir",
    "mkdirat",
    "?rename",
    "renameat",
    "renameat2",
    "?unlink",
    "unlinkat",
    "?rmdir",
    "?link",
    "linkat",
    "?symlink",
    "symlinkat",
    "write",
    "pwrite64",
    "writev",
    "pwritev",
    "pwritev2",
    "ftruncate",
    "?truncate",
    "fallocate",
    "fdatasync",
    "fsync",
    "sync_file_range",
    "syncfs",
    "sync",
    "mmap",
    "copy_file_range",
    "sendfile",
    "splice",
    "sendto",
    "sendmsg",
    "io_uring_setup",
];

/// A call that returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// Place of its beginning and of its end in the order of everything that was seen.
    pub(crate) began: usize,
    pub(crate) ended: usize,
    pub(crate) name: String,
    pub(crate) args: Vec<Arg>,
    /// None: it did not return, because the process ended.
    pub(crate) result: Option<i64>,
}

/// An argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Arg {
    /// A descriptor (or `AT_FDCWD`) and what it is open on.
    File(PathBuf),
    /// Octets; shortened when strace was not told to print all.
    Octets(Vec<u8>),
    /// Numbers, flags, structures: as printed.
    Other(String),
}

impl Call {
    pub(crate) fn succeeded(&self) -> bool {
        self.result.is_some_and(|result| result >= 0)
    }

    /// The file behind the descriptor at this place.
    pub(crate) fn file(&self, at: usize) -> Result<&PathBuf> {
        match self.args.get(at) {
            Some(Arg::File(path)) => Ok(path),
            _ => bail!("argument {at} of {self:?} is no descriptor"),
        }
    }

    pub(crate) fn octets(&self, at: usize) -> Result<&[u8]> {
        match self.args.get(at) {
            Some(Arg::Octets(octets)) => Ok(octets),
            _ => bail!("argument {at} of {self:?} is no string"),
        }
    }

    pub(crate) fn path(&self, at: usize) -> Result<PathBuf> {
        use std::os::unix::ffi::OsStringExt;
        Ok(PathBuf::from(std::ffi::OsString::from_vec(self.octets(at)?.to_vec())))
    }

    pub(crate) fn number(&self, at: usize) -> Result<u64> {
        match self.args.get(at) {
            Some(Arg::Other(text)) => text.parse().with_context(|| format!("argument {at} of {}", self.name)),
            _ => bail!("argument {at} of {self:?} is no number"),
        }
    }

    pub(crate) fn has_flag(&self, at: usize, flag: &str) -> bool {
        matches!(self.args.get(at), Some(Arg::Other(text)) if text.split('|').any(|f| f == flag))
    }
}

/// Reads what strace wrote, in the order in which the calls began.
pub(crate) fn read(trace: impl BufRead) -> Result<Vec<Call>> {
    let mut calls: Vec<Call> = Vec::new();
    // By thread: the call that it is in, with its text so far.
    let mut open: HashMap<u32, (usize, String)> = HashMap::new();
    for (at, text) in trace.lines().enumerate() {
        let text = text.context("reading the trace")?;
        let place = || format!("line {} of the trace: {:.200}", at + 1, text);
        match parse_line(&text).with_context(place)? {
            Line::Whole { name, rest } => {
                calls.push(complete(at, at, name, rest).with_context(place)?);
            }
            Line::Begins { thread, name, rest } => {
                let (name, args) = (name.to_owned(), Vec::new());
                calls.push(Call { began: at, ended: usize::MAX, name, args, result: None });
                open.insert(thread, (calls.len() - 1, rest.to_owned()));
            }
            Line::Ends { thread, rest } => {
                let (index, mut before) = open.remove(&thread).with_context(place)?;
                before.push_str(rest);
                let call = calls.get_mut(index).with_context(place)?;
                *call = complete(call.began, at, &call.name, &before).with_context(place)?;
            }
            Line::Other => {}
        }
    }
    for (index, text) in open.into_values() {
        // The process ended within: what was printed of the arguments says which file it was about.
        if let Some(call) = calls.get_mut(index) {
            call.args = line::arguments(&text).map(|(args, _)| args).unwrap_or_default();
        }
    }
    Ok(calls)
}

fn complete(began: usize, ended: usize, name: &str, rest: &str) -> Result<Call> {
    let (args, rest) = line::arguments(rest)?;
    let result = rest.trim_start().strip_prefix('=').context("no result")?.trim_start();
    let number = result.split([' ', '<']).next().unwrap_or_default();
    let result = match number {
        // The process was gone before the call returned.
        "?" => None,
        hex if hex.starts_with("0x") => Some(0),
        decimal => Some(decimal.parse().with_context(|| format!("result {decimal}"))?),
    };
    Ok(Call { began, ended, name: name.to_owned(), args, result })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = concat!(
        "7     openat(AT_FDCWD<\\x2f\\x74>, \"\\x2f\\x61\", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 9<\\x2f\\x61>\n",
        "7     pwrite64(9<\\x2f\\x61>, \"\\x68\\x2c\\x22\", 3, 4096 <unfinished ...>\n",
        "8     fdatasync(9</a>)                  = -1 EIO (Input/output error) (INJECTED)\n",
        "7     <... pwrite64 resumed>)           = 3\n",
        "9     mmap(NULL, 10, PROT_READ, MAP_PRIVATE, 9<\\x2f\\x61>, 0) = 0x7f00\n",
        "9     fsync(9<\\x2f\\x61> <unfinished ...>\n",
        "8     +++ exited with 0 +++\n",
        "9     +++ killed by SIGKILL +++\n",
    );

    #[test]
    fn calls_are_put_together_again() {
        let calls = read(TRACE.as_bytes()).expect("a trace");
        let names: Vec<&str> = calls.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["openat", "pwrite64", "fdatasync", "mmap", "fsync"]);
        assert!(calls[0].has_flag(2, "O_CREAT") && !calls[0].has_flag(2, "O_EXCL"));
        let write = &calls[1];
        assert_eq!((write.began, write.ended, write.result), (1, 3, Some(3)));
        assert_eq!(write.octets(1).expect("octets"), b"h,\"");
        assert_eq!(write.number(3).expect("a number"), 4096);
        assert!(!calls[2].succeeded() && calls[3].succeeded() && !calls[4].succeeded());
        assert_eq!(calls[4].file(0).expect("a file"), &PathBuf::from("/a"));
    }

    #[test]
    fn what_is_not_a_trace_is_an_error() {
        for text in ["hello", "7 write(1</a>, \"\\x4", "7 <... write resumed>) = 1", "7 fsync(1</a>) ! 0"] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
