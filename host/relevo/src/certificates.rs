//! Certificates that are renewed in place, as `certbot` and its like do: they are taken up without a
//! signal.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::spawn_blocking;

use crate::config::SmtpConfig;

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(30);

/// What tells one state of a file from another: its device and number, size, and when it changed.
type FileState = (u64, u64, u64, i64, i64);

/// The files of certificates and keys, as they were seen.
pub(crate) struct CertificateFiles {
    paths: Vec<PathBuf>,
    /// Of what is in use.
    used: Vec<Option<FileState>>,
    interval: Duration,
}

impl CertificateFiles {
    /// Those of a configuration, which are in use now.
    pub(crate) fn of(config: &SmtpConfig) -> Self {
        let pairs = config.tls.iter().chain(&config.other_certificates);
        let pairs = pairs.flat_map(|(chain, key)| [chain.clone(), key.clone()]);
        let paths: Vec<_> = pairs.chain(config.auth.client_ca.clone()).collect();
        Self { used: states(&paths), paths, interval: LOOK }
    }

    /// Waits until files have changed, and were the same in two looks: chain and key are written one
    /// after the other.
    pub(crate) async fn changed(&mut self) {
        if self.paths.is_empty() {
            std::future::pending::<()>().await;
        }
        let mut last = self.used.clone();
        loop {
            tokio::time::sleep(self.interval).await;
            let paths = self.paths.clone();
            // A file system that does not answer holds up this alone.
            let Ok(now) = spawn_blocking(move || states(&paths)).await else { continue };
            let is_settled = now == last;
            last = now;
            if is_settled && last != self.used {
                self.used = last;
                return;
            }
        }
    }
}

fn states(paths: &[PathBuf]) -> Vec<Option<FileState>> {
    paths.iter().map(|path| state(path)).collect()
}

fn state(path: &Path) -> Option<FileState> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_is_replaced_is_noticed_once_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chain.pem");
        std::fs::write(&path, "one").unwrap();
        let paths = vec![path.clone()];
        let mut files = CertificateFiles { used: states(&paths), paths, interval: Duration::from_millis(20) };
        let quiet = tokio::time::timeout(Duration::from_millis(200), files.changed()).await;
        assert!(quiet.is_err(), "nothing changed");
        let next = folder.path().join("chain.pem.new");
        std::fs::write(&next, "two").unwrap();
        std::fs::rename(&next, &path).unwrap();
        files.changed().await;
        assert_eq!(files.used, states(&[path]));
    }
}
