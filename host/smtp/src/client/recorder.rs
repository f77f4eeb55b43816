//! What was said over a connection, for people who look into a delivery.
//!
//! A [`Recorder`] is handed to a connection for one attempt. It has neither message content nor
//! credentials, and a bounded size: what stands in the middle of a long conversation is left out.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use relevo_mailkit::event::{ConversationLine, Speaker};
use relevo_mailkit::text::escaped;
use relevo_proto::client::RemoteReply;

/// Octets of text that are kept of the beginning, and of the end.
const HALF: usize = 4 << 10;
/// Octets of one line.
const MAX_LINE: usize = 1_000;
/// What stands for a secret.
pub(super) const HIDDEN: &str = "****";

/// Writes down what is said. One that is off costs nothing. Clones write into the same record.
#[derive(Debug, Clone, Default)]
pub struct Recorder(Option<Arc<Mutex<Record>>>);

#[derive(Debug)]
struct Record {
    began: Instant,
    head: Vec<ConversationLine>,
    head_octets: usize,
    tail: VecDeque<ConversationLine>,
    tail_octets: usize,
    left_out: usize,
}

impl Recorder {
    /// One that writes down what is said from now on.
    #[must_use]
    pub fn on() -> Self {
        Self(Some(Arc::new(Mutex::new(Record {
            began: Instant::now(),
            head: Vec::new(),
            head_octets: 0,
            tail: VecDeque::new(),
            tail_octets: 0,
            left_out: 0,
        }))))
    }

    /// Writes a fact about the connection.
    pub fn note<'t>(&self, text: impl FnOnce() -> Cow<'t, str>) {
        if let Some(record) = &self.0 {
            record.lock().add(Speaker::Note, escaped(&text(), MAX_LINE));
        }
    }

    /// Writes commands that were sent, one on a line.
    pub(super) fn sent(&self, commands: &[u8]) {
        if let Some(record) = &self.0 {
            let mut record = record.lock();
            for command in String::from_utf8_lossy(commands).split("\r\n").filter(|line| !line.is_empty()) {
                record.add(Speaker::Client, escaped(command, MAX_LINE));
            }
        }
    }

    /// Writes a reply. What of it is one of `secrets` is hidden.
    pub(super) fn received(&self, reply: &RemoteReply, secrets: &[&str]) {
        let Some(record) = &self.0 else { return };
        let mut text = reply.text.clone();
        for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
            text = text.replace(secret, HIDDEN);
        }
        let mut lines = text.split('\n').map(|line| escaped(line, MAX_LINE));
        let first = format!("{} {}", reply.code, lines.next().unwrap_or_default());
        let text = std::iter::once(first).chain(lines).collect::<Vec<_>>().join("\n");
        record.lock().add(Speaker::Server, text);
    }

    /// What was written down. It ends the record.
    #[must_use]
    pub fn take(&self) -> Vec<ConversationLine> {
        self.0.as_ref().map(|record| record.lock().take()).unwrap_or_default()
    }
}

impl Record {
    fn add(&mut self, from: Speaker, text: String) {
        let octets = text.len();
        let at_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let line = ConversationLine { from, text, at_ms };
        if self.tail.is_empty() && self.left_out == 0 && self.head_octets + octets <= HALF {
            self.head_octets += octets;
            self.head.push(line);
            return;
        }
        self.tail_octets += octets;
        self.tail.push_back(line);
        while self.tail_octets > HALF && self.tail.len() > 1 {
            let Some(first) = self.tail.pop_front() else { break };
            self.tail_octets -= first.text.len();
            self.left_out += 1;
        }
    }

    fn take(&mut self) -> Vec<ConversationLine> {
        let mut lines = std::mem::take(&mut self.head);
        if self.left_out > 0 {
            let at_ms = lines.last().map_or(0, |line| line.at_ms);
            let text = format!("{} lines are left out here", self.left_out);
            lines.push(ConversationLine { from: Speaker::Note, text, at_ms });
        }
        lines.extend(std::mem::take(&mut self.tail));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u16, text: &str) -> RemoteReply {
        RemoteReply { code, enhanced: None, text: text.to_owned() }
    }

    #[test]
    fn what_is_said_is_written_down() {
        let recorder = Recorder::on();
        recorder.note(|| "connected".into());
        recorder.sent(b"MAIL FROM:<a@example.com>\r\nDATA\r\n");
        recorder.received(&reply(250, "mx.example.net\nSIZE 5\u{1b}"), &[]);
        recorder.received(&reply(535, "no user c2VjcmV0"), &["c2VjcmV0", ""]);
        let said: Vec<_> = recorder.take().into_iter().map(|line| (line.from, line.text)).collect();
        let line = |from, text: &str| (from, text.to_owned());
        assert_eq!(
            said,
            [
                line(Speaker::Note, "connected"),
                line(Speaker::Client, "MAIL FROM:<a@example.com>"),
                line(Speaker::Client, "DATA"),
                line(Speaker::Server, "250 mx.example.net\nSIZE 5\\u{1b}"),
                line(Speaker::Server, "535 no user ****"),
            ]
        );
    }

    #[test]
    fn a_long_conversation_keeps_both_ends() {
        let recorder = Recorder::on();
        for number in 0..1_000 {
            recorder.sent(format!("RCPT TO:<{number}@example.com>\r\n").as_bytes());
        }
        let said = recorder.take();
        let octets: usize = said.iter().map(|line| line.text.len()).sum();
        assert!(octets <= 2 * HALF + 100, "{octets}");
        assert!(said[0].text.contains("<0@") && said[said.len() - 1].text.contains("<999@"));
        let cut = said.iter().filter(|line| line.from == Speaker::Note).collect::<Vec<_>>();
        assert!(cut.len() == 1 && cut[0].text.contains("left out"), "{cut:?}");
    }

    #[test]
    fn one_that_is_off_has_nothing() {
        let recorder = Recorder::default();
        recorder.note(|| unreachable!("it is not asked"));
        recorder.sent(b"QUIT\r\n");
        assert!(recorder.take().is_empty());
    }
}
