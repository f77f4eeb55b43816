//! Octets to lines: CRLF discipline, size, and the order in which everything else is asked.

use relevo_mailkit::model::{Refusal, Report, ValidateOptions};

use crate::fields::Fields;
use crate::fixes;
use crate::rules::{self, Checked};
use crate::structure::{Line, PREFIX, Structure};
use crate::utf8::Utf8;

/// Checks one message, pushed in chunks of any size. Memory is bounded by the limits on headers and
/// parts, not by the size of the message.
///
/// ```
/// # use relevo_mailkit::model::ValidateOptions;
/// let mut validator = relevo_validate::Validator::new(relevo_validate::defaults());
/// validator.push(b"From: a@example.org\r\n\r\nhello\r\n");
/// let report = validator.finish().unwrap();
/// assert_eq!(report.authors[0].domain, "example.org");
/// ```
pub struct Validator {
    structure: Structure,
    refused: Option<Refusal>,
    size: u64,
    number: u64,
    line: Partial,
}

/// What is known of a line that lies in more than one chunk.
#[derive(Default)]
struct Partial {
    offset: u64,
    length: u64,
    text_length: u64,
    prefix: Vec<u8>,
    eight_bit: bool,
    utf8: Utf8,
    /// The last octet was a CR: it is not part of the line yet.
    cr: bool,
}

impl Validator {
    /// For one message.
    #[must_use]
    pub fn new(options: ValidateOptions) -> Self {
        Self {
            structure: Structure::new(options),
            refused: None,
            size: 0,
            number: 0,
            line: Partial::default(),
        }
    }

    /// Takes the next octets of the message. After a refusal they are only counted.
    pub fn push(&mut self, chunk: &[u8]) {
        let start = self.size;
        self.size = start.saturating_add(chunk.len() as u64);
        if self.refused.is_none() && self.size <= self.structure.options.max_size {
            self.refused = self.scan(start, chunk).err();
        }
    }

    /// The verdict.
    ///
    /// # Errors
    /// The first rule that the message breaks; its size before everything else.
    pub fn finish(mut self) -> Result<Report, Refusal> {
        let limit = self.structure.options.max_size;
        if self.size > limit {
            return Err(rules::TOO_LARGE.at(format!("the limit is {limit} octets")));
        }
        if let Some(refusal) = self.refused {
            return Err(refusal);
        }
        if self.line.cr {
            self.lone_cr()?;
        }
        if self.line.length > 0 {
            self.end_unterminated()?;
        }
        self.structure.finish(self.size)?;
        self.report()
    }

    fn report(mut self) -> Result<Report, Refusal> {
        let structure = &mut self.structure;
        let mut head = std::mem::take(&mut structure.head);
        let fixes = if structure.options.downgrade {
            fixes::downgrade(&structure.entities, &head)?
        } else {
            fixes::submission(&structure.entities, &head)
        };
        head.added_headers.extend_from_slice(&fixes.added_headers);
        head.fixes.append(&mut structure.header_notes);
        head.fixes.extend(fixes.notes);
        let fields = match structure.options.include_headers {
            true => head.fields.below(&head.added_headers)?,
            false => Fields::default(),
        };
        let mut edits = head.removals;
        edits.append(&mut structure.header_edits);
        edits.extend(fixes.edits);
        edits.sort_by_key(|e| e.at.offset);
        let options = head.options.finish();
        let replaced = options.as_ref().is_ok_and(|options| options.template.is_some());
        Ok(Report {
            authors: head.authors,
            added_headers: head.added_headers,
            edits,
            parts: structure.parts(),
            fixes: head.fixes,
            eight_bit: fixes.eight_bit,
            utf8_header: structure.utf8_header,
            signed: head.signed,
            list_unsubscribe: head.list_unsubscribe,
            feedback_id: head.feedback_id,
            cfbl: head.cfbl,
            tls_optional: head.tls_optional,
            message_id: head.message_id,
            from_field: head.from_field,
            subject: head.subject,
            received: head.received,
            headers: fields.listed,
            headers_left_out: fields.left_out,
            options,
            content_fields: if replaced { head.content_fields } else { Vec::new() },
        })
    }

    fn scan(&mut self, mut offset: u64, mut rest: &[u8]) -> Checked<()> {
        while !rest.is_empty() {
            let (segment, next) = match memchr::memchr(b'\n', rest) {
                Some(at) => rest.split_at(at + 1),
                None => (rest, &[][..]),
            };
            if segment.ends_with(b"\n") {
                self.end_line(offset, segment)?;
            } else {
                self.continue_line(offset, segment)?;
            }
            offset += segment.len() as u64;
            rest = next;
        }
        Ok(())
    }

    /// A segment up to and including an LF.
    fn end_line(&mut self, offset: u64, segment: &[u8]) -> Checked<()> {
        let without_lf = &segment[..segment.len() - 1];
        // The CR may have come with the segment before.
        let cr_before = without_lf.is_empty() && std::mem::take(&mut self.line.cr);
        let (text, terminated) = match without_lf.split_last() {
            Some((b'\r', text)) => (text, true),
            _ => (without_lf, cr_before),
        };
        self.check(text)?;
        if !terminated {
            self.structure.no_line(|| rules::BARE_LF.at(format!("line {}", self.number + 1)))?;
            self.begin_line(offset);
            self.append(offset, without_lf);
            self.append(offset + without_lf.len() as u64, b"\n");
            return Ok(());
        }
        self.number += 1;
        if self.line.length == 0 {
            return self.whole_line(offset - u64::from(cr_before), text);
        }
        self.append(offset, text);
        self.end_partial()
    }

    fn end_partial(&mut self) -> Checked<()> {
        let partial = &mut self.line;
        let line = Line {
            offset: partial.offset,
            number: self.number,
            prefix: &partial.prefix,
            length: partial.length,
            text_length: partial.text_length,
            eight_bit: partial.eight_bit,
            utf8: partial.utf8.is_complete(),
        };
        let result = self.structure.line(&line);
        partial.reset();
        result
    }

    /// The message ends within a line: only binary content may (RFC 3030 section 3).
    fn end_unterminated(&mut self) -> Checked<()> {
        self.number += 1;
        let refusal = || rules::LINE_UNTERMINATED.at(format!("line {}", self.number));
        if !self.structure.is_one_part() {
            return Err(refusal());
        }
        self.structure.no_line(refusal)?;
        self.end_partial()
    }

    fn whole_line(&mut self, offset: u64, text: &[u8]) -> Checked<()> {
        self.structure.text(offset, text);
        let eight_bit = !text.is_ascii();
        let delimiter = text.starts_with(b"--");
        let line = Line {
            offset,
            number: self.number,
            prefix: &text[..text.len().min(PREFIX)],
            length: text.len() as u64,
            // Only asked of delimiters.
            text_length: if delimiter { text.len() as u64 - blanks_at_end(text) } else { text.len() as u64 },
            eight_bit,
            utf8: !eight_bit || std::str::from_utf8(text).is_ok(),
        };
        self.structure.line(&line)
    }

    /// A segment without LF.
    fn continue_line(&mut self, offset: u64, segment: &[u8]) -> Checked<()> {
        let text = segment.strip_suffix(b"\r").unwrap_or(segment);
        self.check(text)?;
        self.begin_line(offset);
        self.append(offset, text);
        self.line.cr = text.len() < segment.len();
        Ok(())
    }

    fn begin_line(&mut self, offset: u64) {
        if self.line.length == 0 {
            self.line.offset = offset;
        }
    }

    /// The CR that ended the segment before ends no line.
    fn lone_cr(&mut self) -> Checked<()> {
        self.structure.no_line(|| rules::BARE_CR.at(format!("line {}", self.number + 1)))?;
        self.line.cr = false;
        let offset = self.line.offset + self.line.length;
        self.append(offset, b"\r");
        Ok(())
    }

    /// No NUL, no CR other than before an LF (be it the one that ended the segment before), and a
    /// header within its limit. What lies beyond that limit is not looked at, so that the verdict
    /// does not depend on the chunks.
    fn check(&mut self, text: &[u8]) -> Checked<()> {
        if self.line.cr {
            self.lone_cr()?;
        }
        let line = || format!("line {}", self.number + 1);
        let room = self.structure.room().unwrap_or(usize::MAX);
        let within = &text[..text.len().min(room)];
        if let Some(at) = memchr::memchr2(b'\r', 0, within) {
            let rule = if within[at] == 0 { rules::NUL } else { rules::BARE_CR };
            self.structure.no_line(|| rule.at(line()))?;
        }
        if within.len() < text.len() { Err(rules::HEADER_TOO_LARGE.at(line())) } else { Ok(()) }
    }

    fn append(&mut self, offset: u64, text: &[u8]) {
        self.structure.text(offset, text);
        let partial = &mut self.line;
        let room = PREFIX.saturating_sub(partial.prefix.len());
        partial.prefix.extend_from_slice(&text[..text.len().min(room)]);
        let blanks = blanks_at_end(text);
        if blanks < text.len() as u64 {
            partial.text_length = partial.length + text.len() as u64 - blanks;
        }
        partial.length += text.len() as u64;
        if !text.is_ascii() || !partial.utf8.is_complete() {
            partial.eight_bit = true;
            partial.utf8.push(text);
        }
    }
}

impl Partial {
    fn reset(&mut self) {
        self.prefix.clear();
        self.length = 0;
        self.text_length = 0;
        self.eight_bit = false;
        self.utf8 = Utf8::default();
        self.cr = false;
    }
}

fn blanks_at_end(text: &[u8]) -> u64 {
    text.iter().rev().take_while(|b| matches!(b, b' ' | b'\t')).count() as u64
}
