//! The message on standard input: line ends, header, and what is missing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::addresses;

/// Octets of a name in one encoded word (RFC 2047 section 2: 75 characters in all).
const ENCODED: usize = 42;

/// A message with CRLF line ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// Whole fields with their CRLF.
    fields: Vec<Vec<u8>>,
    /// Without the empty line before it.
    body: Vec<u8>,
}

impl Message {
    /// Reads lines that end in LF, CRLF or CR. The header ends at the first line that is no field: a
    /// message may have none. With `dot_ends`, a line with a dot alone ends the message.
    pub(super) fn read(input: &[u8], dot_ends: bool) -> Self {
        let mut message = Self::default();
        let mut lines = lines(input).take_while(|line| !(dot_ends && *line == b".")).peekable();
        // The first line of a mailbox file.
        lines.next_if(|line| line.starts_with(b"From "));
        while let Some(line) = lines.next_if(|line| !line.is_empty()) {
            let folded = matches!(line.first(), Some(b' ' | b'\t'));
            match message.fields.last_mut() {
                Some(last) if folded => push_line(last, line),
                _ if !folded && name(line).is_some() => {
                    let mut field = Vec::new();
                    push_line(&mut field, line);
                    message.fields.push(field);
                }
                _ => {
                    push_line(&mut message.body, line);
                    break;
                }
            }
        }
        if message.body.is_empty() {
            lines.next_if(|line| line.is_empty());
        }
        lines.for_each(|line| push_line(&mut message.body, line));
        message
    }

    /// The recipients that the header names: those of Resent fields where there are any.
    ///
    /// # Errors
    /// The field that cannot be read.
    pub(super) fn recipients(&self) -> Result<Vec<String>, String> {
        let resent = ["resent-to", "resent-cc", "resent-bcc"];
        let again = self.addresses(&resent)?;
        if again.is_empty() { self.addresses(&["to", "cc", "bcc"]) } else { Ok(again) }
    }

    /// The address of Sender, or the first of From.
    pub(super) fn author(&self) -> Option<String> {
        let of = |names: &[&str]| self.addresses(names).ok()?.into_iter().next();
        of(&["sender"]).or_else(|| of(&["from"]))
    }

    fn addresses(&self, names: &[&str]) -> Result<Vec<String>, String> {
        let mut all = Vec::new();
        for field in self.fields.iter().filter(|field| is_named(field, names)) {
            let text = String::from_utf8_lossy(field);
            let (name, value) = text.split_once(':').unwrap_or_default();
            all.extend(addresses::list(value).map_err(|mistake| format!("{name}: {mistake}"))?);
        }
        Ok(all)
    }

    /// Removes Bcc and Resent-Bcc.
    pub(super) fn remove_blind_recipients(&mut self) {
        self.fields.retain(|field| !is_named(field, &["bcc", "resent-bcc"]));
    }

    /// Adds a From field where there is none. The relay adds Date and Message-ID.
    pub(super) fn add_author(&mut self, address: &str, full_name: Option<&str>) {
        if self.fields.iter().any(|field| is_named(field, &["from"])) {
            return;
        }
        let field = match full_name.map(display_name) {
            Some(name) if !name.is_empty() => format!("From: {name} <{address}>\r\n"),
            _ => format!("From: {address}\r\n"),
        };
        self.fields.insert(0, field.into_bytes());
    }

    /// The header has octets above 127.
    pub(super) fn needs_smtputf8(&self) -> bool {
        self.fields.iter().any(|field| !field.is_ascii())
    }

    /// The whole message.
    pub(super) fn octets(&self) -> Vec<u8> {
        let mut all = self.fields.concat();
        all.extend_from_slice(b"\r\n");
        all.extend_from_slice(&self.body);
        all
    }
}

/// Lines without their ends. CRs before an LF belong to the line end.
fn lines(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = input.strip_suffix(b"\n").unwrap_or(input);
    let nothing = input.is_empty();
    whole.split(|octet| *octet == b'\n').filter(move |_| !nothing).flat_map(|line| {
        let length = line.iter().rposition(|octet| *octet != b'\r').map_or(0, |at| at + 1);
        line[..length].split(|octet| *octet == b'\r')
    })
}

fn push_line(out: &mut Vec<u8>, line: &[u8]) {
    out.extend_from_slice(line);
    out.extend_from_slice(b"\r\n");
}

/// The name of a field, if the line begins one.
fn name(line: &[u8]) -> Option<&[u8]> {
    let colon = line.iter().position(|octet| *octet == b':')?;
    let name = &line[..colon];
    (!name.is_empty() && name.iter().all(u8::is_ascii_graphic)).then_some(name)
}

fn is_named(field: &[u8], names: &[&str]) -> bool {
    name(field).is_some_and(|name| names.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes())))
}

/// A display name as it may stand before an address.
fn display_name(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    if name.is_ascii() {
        let name = name.replace('\\', "\\\\").replace('"', "\\\"");
        return if name.trim().is_empty() { String::new() } else { format!("\"{name}\"") };
    }
    let mut words = Vec::new();
    let mut rest = name.as_str();
    while !rest.is_empty() {
        let (word, behind) = rest.split_at(rest.floor_char_boundary(ENCODED));
        words.push(format!("=?utf-8?b?{}?=", STANDARD.encode(word)));
        rest = behind;
    }
    words.join("\r\n ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(input: &str, dot_ends: bool) -> String {
        String::from_utf8(Message::read(input.as_bytes(), dot_ends).octets()).unwrap()
    }

    #[test]
    fn every_line_end_becomes_crlf() {
        for input in [
            "To: a@b\n\nx\n.\ny\n",
            "To: a@b\r\n\r\nx\r\n.\r\ny\r\n",
            "To: a@b\r\rx\r.\ry\r",
            "To: a@b\r\r\n\nx\r\n.\ny",
        ] {
            assert_eq!(octets(input, false), "To: a@b\r\n\r\nx\r\n.\r\ny\r\n", "{input:?}");
            assert_eq!(octets(input, true), "To: a@b\r\n\r\nx\r\n", "{input:?}");
        }
    }

    #[test]
    fn a_header_ends_where_fields_end() {
        for (input, expected) in [
            ("", "\r\n"),
            ("\n", "\r\n"),
            ("hello\n", "\r\nhello\r\n"),
            ("Subject: x\n", "Subject: x\r\n\r\n"),
            ("Subject: x\n y\nhello there\n\nz", "Subject: x\r\n y\r\n\r\nhello there\r\n\r\nz\r\n"),
            (" folded\nTo: a\n", "\r\n folded\r\nTo: a\r\n"),
            ("From root Sun Nov 22\nTo: a\n\nx", "To: a\r\n\r\nx\r\n"),
            ("To: a\n\n\nx\n\n", "To: a\r\n\r\n\r\nx\r\n\r\n"),
        ] {
            assert_eq!(octets(input, false), expected, "{input:?}");
        }
    }

    #[test]
    fn the_header_names_recipients_and_author() {
        let mut message = Message::read(
            b"to: Ana <a@b>,\n c@d\nCC: e@f\nBcc: g@h\nFrom: x@y, z@y\nSubject: s\n\nTo: not@this\n",
            false,
        );
        assert_eq!(message.recipients().unwrap(), ["a@b", "c@d", "e@f", "g@h"]);
        assert_eq!(message.author().as_deref(), Some("x@y"));
        message.remove_blind_recipients();
        assert!(!String::from_utf8(message.octets()).unwrap().contains("g@h"));
        let resent = Message::read(b"To: a@b\nResent-To: c@d\nSender: s@t\nFrom: x@y\n", false);
        assert_eq!(
            (resent.recipients().unwrap(), resent.author()),
            (vec!["c@d".to_owned()], Some("s@t".to_owned()))
        );
        let broken = Message::read(b"Cc: Ana a@b\n\n", false).recipients().unwrap_err();
        assert_eq!(broken, "Cc: `Ana a@b` is not an address");
    }

    #[test]
    fn an_author_is_added_where_there_is_none() {
        let from = |name: Option<&str>| {
            let mut message = Message::read(b"Subject: x\n", false);
            message.add_author("a@b.example", name);
            String::from_utf8(message.octets()).unwrap()
        };
        assert_eq!(from(None), "From: a@b.example\r\nSubject: x\r\n\r\n");
        assert!(from(Some("Cron \"Daemon\"")).starts_with("From: \"Cron \\\"Daemon\\\"\" <a@b.example>\r\n"));
        assert!(from(Some("Núñez")).starts_with("From: =?utf-8?b?TsO6w7Fleg==?= <a@b.example>\r\n"));
        assert!(from(Some("a\r\nBcc: x")).starts_with("From: \"aBcc: x\" <a@b.example>\r\n"));
        let mut has = Message::read(b"FROM: x@y\n", false);
        has.add_author("a@b.example", None);
        assert_eq!(has.octets(), b"FROM: x@y\r\n\r\n");
    }

    proptest::proptest! {
        /// Whatever comes, every line ends in CRLF and no CR or LF stands alone.
        #[test]
        fn line_ends_are_whole(input in "[a:. \r\n]{0,60}", dot_ends: bool) {
            let text = octets(&input, dot_ends);
            proptest::prop_assert!(text.ends_with("\r\n"));
            proptest::prop_assert!(!text.replace("\r\n", "").contains(['\r', '\n']));
            proptest::prop_assert_eq!(Message::read(text.as_bytes(), false).octets(), text.as_bytes());
        }
    }
}
