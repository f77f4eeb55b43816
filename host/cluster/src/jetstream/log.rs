//! The log of a shard in a stream. A record is a message, and its sequence is its place.

use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::context::traits::Publisher as _;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use async_nats::jetstream::{Context, ErrorCode};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use relevo_queue::shard_log::{AppendError, LogBounds, LogError, LogRecord, Seq, ShardLog};

/// Records that are asked for at the same time.
const AT_ONCE: usize = 32;
/// Of a server's largest payload, what is left for subject and headers.
const MARGIN: usize = 1024;
/// Records are not larger than this, whatever the server takes: above it NATS warns.
const LARGEST: usize = 4 << 20;

/// See the module.
#[derive(Debug)]
pub struct JetStreamLog {
    context: Context,
    stream: Stream,
    subject: String,
    max_record: usize,
}

impl JetStreamLog {
    pub(super) fn new(context: Context, stream: Stream, subject: String, max_payload: usize) -> Self {
        let max_record = max_payload.saturating_sub(MARGIN).min(LARGEST);
        Self { context, stream, subject, max_record }
    }

    async fn record(&self, seq: Seq) -> Result<Option<LogRecord>, LogError> {
        // Asked of the stream's leader, which has applied everything that it acknowledged.
        match self.stream.get_raw_message(seq).await {
            Ok(message) => Ok(Some(LogRecord { seq, octets: message.payload.to_vec() })),
            Err(error) => match error.kind() {
                RawMessageErrorKind::JetStream(e) if e.error_code() == ErrorCode::NO_MESSAGE_FOUND => {
                    Ok(None)
                }
                _ => Err(LogError::Unavailable(error.to_string())),
            },
        }
    }
}

#[async_trait]
impl ShardLog for JetStreamLog {
    async fn append(&self, expected: Seq, record: &[u8]) -> Result<(), AppendError> {
        let message = PublishMessage::build()
            .payload(Bytes::copy_from_slice(record))
            .expected_stream(&self.subject)
            .expected_last_sequence(expected)
            .outbound_message(self.subject.clone());
        let unknown = |error: &dyn std::fmt::Display| AppendError::Unknown(error.to_string());
        let sent = self.context.publish_message(message).await;
        let acknowledged = match sent {
            Ok(waiting) => waiting.await,
            Err(error) => Err(error),
        };
        match acknowledged {
            Ok(ack) if ack.sequence == expected + 1 => Ok(()),
            // An engine that says that a record stands elsewhere than it was told breaks its contract.
            Ok(ack) => Err(AppendError::Unknown(format!("it says that the record is at {}", ack.sequence))),
            Err(error) => match error.kind() {
                PublishErrorKind::WrongLastSequence => Err(AppendError::Fenced(expected)),
                PublishErrorKind::MaxPayloadExceeded => Err(AppendError::Unavailable(error.to_string())),
                // Nobody leads the stream now, or the connection broke: the record may be under way.
                _ => Err(unknown(&error)),
            },
        }
    }

    async fn read(&self, from: Seq, octets: usize) -> Result<Vec<LogRecord>, LogError> {
        let bounds = self.bounds().await?;
        if from < bounds.first && from <= bounds.last {
            return Err(LogError::Trimmed(from));
        }
        let mut waiting = futures::stream::iter(from..=bounds.last)
            .map(async |seq| (seq, self.record(seq).await))
            .buffered(AT_ONCE);
        let (mut records, mut room) = (Vec::new(), octets);
        while let Some((seq, record)) = waiting.next().await {
            let Some(record) = record? else {
                return Err(LogError::Damaged(format!("record {seq} is missing")));
            };
            room = room.saturating_sub(record.octets.len());
            records.push(record);
            if room == 0 {
                break;
            }
        }
        Ok(records)
    }

    async fn bounds(&self) -> Result<LogBounds, LogError> {
        let info = self.stream.get_info().await.map_err(|e| LogError::Unavailable(e.to_string()))?;
        let state = info.state;
        // An empty stream says 0, or the place after the last.
        let first = if state.messages == 0 { state.last_sequence + 1 } else { state.first_sequence };
        Ok(LogBounds { first, last: state.last_sequence, octets: state.bytes })
    }

    async fn trim(&self, below: Seq) -> Result<(), LogError> {
        // A purge beyond the end would move the end.
        let below = below.min(self.bounds().await?.last + 1);
        let purged = self.stream.purge().sequence(below).await;
        purged.map(drop).map_err(|e| LogError::Unavailable(e.to_string()))
    }

    fn max_record(&self) -> usize {
        self.max_record
    }
}
