//! What the log of a relay says about one of its lives.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::Result;

/// The log, and where the present life begins in it.
pub(crate) struct RelayLog {
    path: PathBuf,
    from: u64,
}

/// One life.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Life {
    /// Segments that compaction emptied.
    pub(crate) emptied: usize,
    /// It ended within compaction.
    pub(crate) emptying: bool,
    pub(crate) panicked: bool,
    /// It got as far as serving.
    pub(crate) ready: bool,
}

impl RelayLog {
    pub(crate) fn new(directory: &Path) -> Self {
        Self { path: directory.join("log"), from: 0 }
    }

    /// Before a start.
    pub(crate) fn begin(&mut self) -> Result<()> {
        self.from = std::fs::metadata(&self.path).map_or(0, |m| m.len());
        Ok(())
    }

    /// After an end.
    pub(crate) fn end(&self) -> Result<Life> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.from))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        Ok(life(&String::from_utf8_lossy(&text)))
    }
}

fn life(text: &str) -> Life {
    let count = |what: &str| text.lines().filter(|line| line.contains(what)).count();
    let (begun, emptied) = (count("emptying a segment"), count("a segment is empty"));
    let given_up = count("a sparse segment could not be emptied");
    let ready = text.lines().any(|line| line.ends_with(" ready"));
    Life { emptied, emptying: begun > emptied + given_up, panicked: text.contains("panicked at"), ready }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_that_ends_within_compaction_is_seen() {
        let begun = "DEBUG relevo_queue::compact: emptying a segment segment=1\n";
        let ended = "DEBUG relevo_queue::compact: a segment is empty segment=1\n";
        let whole = begun.to_owned() + ended;
        assert_eq!(life(&whole), Life { emptied: 1, ..Life::default() });
        assert_eq!(life(&(whole + begun)), Life { emptied: 1, emptying: true, ..Life::default() });
        assert!(
            life("INFO relevo::serve: ready\n").ready && life("thread 'a' panicked at b.rs:1:1").panicked
        );
    }
}
