//! Messages that are kept after their last delivery: one file for each, in a directory for the day
//! on which it is removed.
//!
//! A file has [`MAGIC`], the length of what follows in four octets, the facts as CBOR, and the octets
//! of the message. It is written beside and renamed. It is not synced: nothing here is still to be
//! delivered.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use minicbor::{Decode, Encode};
use relevo_mailkit::source::{Source, for_each_chunk};
use relevo_queue::{Delivery, ItemId, ItemMeta, Millis, Recipient};
use tokio::task::spawn_blocking;

use crate::clock::timestamp;

const MAGIC: &[u8; 8] = b"RELKEPT1";
/// Octets of the facts of one message.
const MAX_FACTS: u32 = 64 << 20;

/// A message that is kept.
#[derive(Clone)]
pub struct KeptMessage {
    /// Its id.
    pub id: ItemId,
    /// Its facts.
    pub meta: Arc<ItemMeta>,
    /// Its deliveries.
    pub deliveries: Vec<KeptDelivery>,
    /// The octets as accepted.
    pub body: Arc<dyn Source>,
}

/// The recipients of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KeptDelivery {
    /// Its number within the message.
    #[n(0)]
    pub number: u32,
    /// As they were last known.
    #[n(1)]
    pub recipients: Vec<Recipient>,
}

impl KeptDelivery {
    /// Of a delivery.
    #[must_use]
    pub fn of(delivery: Delivery) -> Self {
        Self { number: delivery.id.number, recipients: delivery.recipients }
    }
}

/// What stands before the octets.
#[derive(Encode, Decode)]
#[cbor(map)]
struct Facts {
    #[n(0)]
    meta: ItemMeta,
    #[n(1)]
    deliveries: Vec<KeptDelivery>,
}

/// The directory of messages that are kept.
#[derive(Debug, Clone)]
pub struct KeptMessages(PathBuf);

impl KeptMessages {
    /// `kept` in the data directory. It is made with the first message.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self(data_dir.join("kept"))
    }

    /// Keeps a message until the end of the day of `until`.
    ///
    /// # Errors
    /// The file system's. Nothing is kept then.
    pub async fn keep(&self, message: KeptMessage, until: Millis) -> io::Result<()> {
        let directory = self.0.clone();
        blocking(move || write(&directory, &message, until)).await
    }

    /// The message of this id.
    ///
    /// # Errors
    /// The file system's; `InvalidData` for a damaged file.
    pub async fn find(&self, id: ItemId) -> io::Result<Option<KeptMessage>> {
        let directory = self.0.clone();
        blocking(move || {
            for day in days(&directory)? {
                match File::open(directory.join(day).join(id.to_string())) {
                    Ok(file) => return read(id, file).map(Some),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(None)
        })
        .await
    }

    /// Removes the days before that of `now`. Returns how many there were.
    ///
    /// # Errors
    /// The file system's.
    pub async fn prune(&self, now: Millis) -> io::Result<usize> {
        let (directory, today) = (self.0.clone(), day(now));
        blocking(move || {
            let over: Vec<String> = days(&directory)?.into_iter().filter(|day| *day < today).collect();
            over.iter().try_for_each(|day| fs::remove_dir_all(directory.join(day)))?;
            Ok(over.len())
        })
        .await
    }

    /// Removes the day that would be removed first. Returns false if there is none.
    ///
    /// # Errors
    /// The file system's.
    pub async fn remove_first(&self) -> io::Result<bool> {
        let directory = self.0.clone();
        blocking(move || match days(&directory)?.first() {
            Some(day) => fs::remove_dir_all(directory.join(day)).map(|()| true),
            None => Ok(false),
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

/// `20261129`.
fn day(at: Millis) -> String {
    timestamp(at).chars().take(10).filter(char::is_ascii_digit).collect()
}

/// The directories of days, those that are removed first before others.
fn days(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut days = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap_or_default();
        if name.len() == 8 && name.bytes().all(|c| c.is_ascii_digit()) && entry.file_type()?.is_dir() {
            days.push(name);
        }
    }
    days.sort_unstable();
    Ok(days)
}

fn write(directory: &Path, message: &KeptMessage, until: Millis) -> io::Result<()> {
    let directory = directory.join(day(until));
    DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
    let (path, half) =
        (directory.join(message.id.to_string()), directory.join(format!("{}.part", message.id)));
    let written = write_file(&half, message).and_then(|()| fs::rename(&half, &path));
    if written.is_err() {
        let _ = fs::remove_file(&half);
    }
    written
}

fn write_file(path: &Path, message: &KeptMessage) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let facts = Facts { meta: (*message.meta).clone(), deliveries: message.deliveries.clone() };
    let facts = minicbor::to_vec(&facts).map_err(io::Error::other)?;
    let length = u32::try_from(facts.len()).map_err(io::Error::other)?;
    file.write_all(&[MAGIC, length.to_be_bytes().as_slice(), &facts].concat())?;
    for_each_chunk(&*message.body, 0, message.body.size(), |chunk| file.write_all(chunk))
}

fn read(id: ItemId, mut file: File) -> io::Result<KeptMessage> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("{id}: a damaged file"));
    let (mut magic, mut length) = ([0; 8], [0; 4]);
    file.read_exact(&mut magic)?;
    file.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if magic != *MAGIC || length > MAX_FACTS {
        return Err(damaged());
    }
    let mut facts = Vec::new();
    (&mut file).take(length.into()).read_to_end(&mut facts)?;
    let Facts { meta, deliveries } = minicbor::decode(&facts).map_err(|_| damaged())?;
    let offset = 12 + u64::from(length);
    let size = file.metadata()?.len().checked_sub(offset).filter(|size| *size == meta.size);
    let body = Arc::new(Rest { file, offset, size: size.ok_or_else(damaged)? });
    Ok(KeptMessage { id, meta: Arc::new(meta), deliveries, body })
}

/// A file from an offset to its end.
struct Rest {
    file: File,
    offset: u64,
    size: u64,
}

impl Source for Rest {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = left.min(buf.len());
        self.file.read_at(&mut buf[..wanted], self.offset + offset)
    }
}

#[cfg(test)]
mod tests {
    use relevo_queue::RecipientState;

    use super::*;
    use crate::testing::{NOW, read as octets};

    const DAY: Millis = 24 * 3600 * 1000;

    fn message(number: u8) -> KeptMessage {
        let address = "b@example.net".to_owned();
        let recipients =
            vec![Recipient { state: RecipientState::Delivered, ..Recipient::pending(0, address) }];
        let meta = ItemMeta { tenant: "acme".to_owned(), size: 5, recipe: vec![1, 2], ..ItemMeta::default() };
        KeptMessage {
            id: ItemId::new(NOW, [number; 10]),
            meta: Arc::new(meta),
            deliveries: vec![KeptDelivery { number: 3, recipients }],
            body: Arc::new(b"Hello".to_vec()),
        }
    }

    #[tokio::test]
    async fn a_message_is_kept_and_found() {
        let data = tempfile::tempdir().expect("a directory");
        let kept = KeptMessages::new(data.path());
        assert!(kept.find(message(1).id).await.expect("no error").is_none());
        kept.keep(message(1), NOW + 3 * DAY).await.expect("kept");
        let found = kept.find(message(1).id).await.expect("read").expect("there");
        assert_eq!((&found.meta, &found.deliveries), (&message(1).meta, &message(1).deliveries));
        assert_eq!(octets(&*found.body), b"Hello");
        assert!(kept.find(message(2).id).await.expect("no error").is_none());
        let file = data.path().join("kept/20261125").join(message(1).id.to_string());
        fs::write(&file, "RELKEPT1 cut").expect("written");
        assert!(kept.find(message(1).id).await.is_err(), "damaged");
    }

    #[tokio::test]
    async fn days_that_are_over_are_removed() {
        let data = tempfile::tempdir().expect("a directory");
        let kept = KeptMessages::new(data.path());
        kept.keep(message(1), NOW).await.expect("kept");
        kept.keep(message(2), NOW + DAY).await.expect("kept");
        kept.keep(message(3), NOW + 2 * DAY).await.expect("kept");
        assert_eq!(kept.prune(NOW).await.expect("pruned"), 0, "until the end of the day");
        assert_eq!(kept.prune(NOW + DAY).await.expect("pruned"), 1);
        assert!(kept.find(message(1).id).await.expect("no error").is_none());
        assert!(kept.remove_first().await.expect("removed"));
        assert!(kept.find(message(2).id).await.expect("no error").is_none());
        assert!(kept.find(message(3).id).await.expect("no error").is_some());
        assert!(kept.remove_first().await.expect("removed") && !kept.remove_first().await.expect("none"));
    }
}
