//! The fields of the header, for whoever is to judge them.

use relevo_mailkit::model::{MAX_FIELD_OCTETS, MAX_FIELDS};
use relevo_mailkit::policy::HeaderField;

use crate::header::{Block, Field};
use crate::rules::Checked;

/// The first fields, and how many more there were.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    pub(crate) listed: Vec<HeaderField>,
    pub(crate) left_out: u32,
    octets: usize,
}

impl Fields {
    /// Appends, while there is room.
    pub(crate) fn push(&mut self, block: &Block<'_>, field: &Field) {
        let (name, value) = (block.name(field), block.value(field));
        if self.has_room(name.len() + value.len()) {
            // Printable ASCII, or it would not be a field.
            let name = String::from_utf8_lossy(name).into_owned();
            self.listed.push(HeaderField { name, value: value.to_vec() });
        }
    }

    /// Those of `added_headers` (whole fields), then these.
    pub(crate) fn below(self, added_headers: &[u8]) -> Checked<Self> {
        let block = Block::read(added_headers, 0, false)?;
        let mut all = Self::default();
        block.fields.iter().for_each(|field| all.push(&block, field));
        for field in self.listed {
            if all.has_room(field.name.len() + field.value.len()) {
                all.listed.push(field);
            }
        }
        all.left_out = all.left_out.saturating_add(self.left_out);
        Ok(all)
    }

    /// Counts one more. After the first without room all are left out, so that what is listed is
    /// the beginning of the header.
    fn has_room(&mut self, octets: usize) -> bool {
        let octets = self.octets + octets;
        let fits = self.left_out == 0 && self.listed.len() < MAX_FIELDS && octets <= MAX_FIELD_OCTETS;
        match fits {
            true => self.octets = octets,
            false => self.left_out = self.left_out.saturating_add(1),
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use relevo_mailkit::model::{Report, ValidateOptions};

    use super::*;
    use crate::Validator;

    fn report(message: &str, include_headers: bool) -> Report {
        let mut validator = Validator::new(ValidateOptions { include_headers, ..crate::defaults() });
        validator.push(message.as_bytes());
        validator.finish().unwrap()
    }

    fn names(report: &Report) -> Vec<&str> {
        report.headers.iter().map(|f| f.name.as_str()).collect()
    }

    #[test]
    fn the_header_as_it_is_sent() {
        let message = "From: a@b.example\r\nBcc: c@d.example\r\nSuBject: x\r\n y\r\nX:\r\n\r\nNot: this\r\n";
        let report = report(message, true);
        assert_eq!(names(&report), ["Date", "Message-ID", "From", "SuBject", "X"]);
        let values: Vec<_> = report.headers[2..].iter().map(|f| f.value.as_slice()).collect();
        assert_eq!(values, [&b" a@b.example"[..], b" x\r\n y", b""]);
        assert_eq!(report.headers_left_out, 0);
        assert!(self::report(message, false).headers.is_empty());
    }

    #[test]
    fn a_long_header_is_cut_and_counted() {
        let many = format!("From: a@b.example\r\n{}\r\n", "X-A: b\r\n".repeat(MAX_FIELDS + 4));
        let found = report(&many, true);
        // With Date and Message-ID.
        assert_eq!((found.headers.len(), found.headers_left_out), (MAX_FIELDS, 7));
        let line = format!(" {}\r\n", "x".repeat(900));
        let large = format!("X: y\r\n{}", line.repeat(33)).repeat(3);
        let found = report(&format!("From: a@b.example\r\n{large}Subject: z\r\n\r\n"), true);
        assert_eq!(
            (names(&found), found.headers_left_out),
            (vec!["Date", "Message-ID", "From", "X", "X"], 2)
        );
    }
}
