//! The header of the message itself: who wrote it, what is missing, what has to go (RFC 5322
//! section 3.6, RFC 6409).

use relevo_mailkit::address::Address;
use relevo_mailkit::model::{Author, AuthorRole, Edit, Encoding, Note, Span, ValidateOptions};
use relevo_mailkit::signing::{MAX_SIGNED_WHEN_PRESENT, SIGNED_WHEN_PRESENT};

use crate::address::{self, Fault, List};
use crate::fields::Fields;
use crate::header::{Block, Field, Name, shown};
use crate::lexer::{Lexer, unquote};
use crate::options::Options;
use crate::rules::{self, Checked};
use crate::{date, domain, repair, subject};

/// Mailboxes of From and Resent-From together.
const MAX_AUTHORS: usize = 100;

/// What the header of the message says.
#[derive(Debug, Default)]
pub(crate) struct Head {
    pub(crate) authors: Vec<Author>,
    /// Date and Message-ID, where missing.
    pub(crate) added_headers: Vec<u8>,
    pub(crate) removals: Vec<Edit>,
    pub(crate) fixes: Vec<Note>,
    /// Of the `X-Relevo-*` fields.
    pub(crate) options: Options,
    /// Fields that go with the content.
    pub(crate) content_fields: Vec<Span>,
    pub(crate) signed: bool,
    /// There is a List-Unsubscribe field.
    pub(crate) list_unsubscribe: bool,
    /// There is a Feedback-ID field.
    pub(crate) feedback_id: bool,
    /// There is a CFBL-Address or CFBL-Feedback-ID field.
    pub(crate) cfbl: bool,
    /// There is one field `TLS-Required: No`.
    pub(crate) tls_optional: bool,
    pub(crate) message_id: String,
    pub(crate) from_field: Vec<u8>,
    pub(crate) subject: String,
    pub(crate) received: u32,
    /// Of the message, without those that are removed; only when they were asked for.
    pub(crate) fields: Fields,
    pub(crate) mime_version: bool,
    /// Content-Type or Content-Transfer-Encoding.
    pub(crate) mime_fields: bool,
    /// Octets above 127 in what is not removed.
    pub(crate) eight_bit: bool,
}

/// Checks the header of the message.
pub(crate) fn read(block: &Block<'_>, options: &ValidateOptions) -> Checked<Head> {
    check_octets(block, options)?;
    check_single(block)?;
    check_signed(block)?;
    let signed = block.fields.iter().any(|f| f.name == Name::DkimSignature);
    let has = |name: &[u8]| block.fields.iter().any(|f| block.name(f).eq_ignore_ascii_case(name));
    // RFC 8689 section 5: a field that is malformed or stands twice counts for nothing.
    let mut tls_required =
        block.fields.iter().filter(|f| block.name(f).eq_ignore_ascii_case(b"TLS-Required"));
    let tls_optional = tls_required.next().is_some_and(|field| {
        block.value(field).trim_ascii().eq_ignore_ascii_case(b"No") && tls_required.next().is_none()
    });
    let head = Head {
        signed,
        tls_optional,
        list_unsubscribe: has(b"List-Unsubscribe"),
        feedback_id: has(b"Feedback-ID"),
        cfbl: has(b"CFBL-Address") || has(b"CFBL-Feedback-ID"),
        ..Head::default()
    };
    let mut reader = Reader { block, options, head, from: None, sender: false, date: None };
    let (mut resent, mut resent_from) = (false, false);
    for field in &block.fields {
        let removed = reader.head.removals.len();
        reader.field(field)?;
        let stays = reader.head.removals.len() == removed;
        if stays && describes_content(block, field) {
            reader.head.content_fields.push(block.span(field));
        }
        reader.head.eight_bit |= stays && !block.value(field).is_ascii();
        if stays && options.include_headers {
            reader.head.fields.push(block, field);
        }
        resent |= matches!(
            field.name,
            Name::ResentTo | Name::ResentCc | Name::ResentSender | Name::ResentDate | Name::ResentMessageId
        );
        resent_from |= field.name == Name::ResentFrom;
    }
    if resent && !resent_from {
        return Err(rules::RESENT_FROM_MISSING.at(""));
    }
    reader.finish()
}

/// Octets above 127 (RFC 6532 section 3): declared, and valid UTF-8. Also for the headers of parts.
pub(crate) fn check_octets(block: &Block<'_>, options: &ValidateOptions) -> Checked<()> {
    if !block.eight_bit {
        return Ok(());
    }
    check_utf8(block)?;
    let Some(field) = block.fields.iter().find(|f| !block.value(f).is_ascii()) else { return Ok(()) };
    if options.downgrade {
        return Err(rules::CANNOT_DOWNGRADE_HEADER.at(block.name(field)));
    }
    if options.smtputf8 { Ok(()) } else { Err(rules::HEADER_EIGHT_BIT.at(block.name(field))) }
}

/// Octets above 127 are UTF-8.
pub(crate) fn check_utf8(block: &Block<'_>) -> Checked<()> {
    let not_utf8 = |f: &&Field| std::str::from_utf8(block.value(f)).is_err();
    match block.fields.iter().find(not_utf8) {
        Some(field) => Err(rules::HEADER_NOT_UTF8.at(block.name(field))),
        None => Ok(()),
    }
}

/// RFC 5322 section 3.6, RFC 2045 section 3: what may occur once. Bcc and others are removed, so
/// they may repeat.
fn check_single(block: &Block<'_>) -> Checked<()> {
    let mut seen: [bool; 32] = [false; 32];
    for field in &block.fields {
        let single = matches!(
            field.name,
            Name::From
                | Name::Sender
                | Name::ReplyTo
                | Name::To
                | Name::Cc
                | Name::Date
                | Name::MessageId
                | Name::InReplyTo
                | Name::References
                | Name::Subject
                | Name::MimeVersion
                | Name::ContentType
                | Name::ContentTransferEncoding
                | Name::ContentDisposition
                | Name::ContentId
                | Name::ContentDescription
        );
        let Some(seen) = seen.get_mut(field.name as usize) else { continue };
        if single && *seen {
            let rule = if field.name == Name::From { rules::TWO_FROM_FIELDS } else { rules::DUPLICATE_FIELD };
            return Err(rule.at(block.name(field)));
        }
        *seen = true;
    }
    Ok(())
}

/// The fields of which all are signed: what could not be signed later is refused now.
fn check_signed(block: &Block<'_>) -> Checked<()> {
    let is_signed = |f: &&Field| {
        f.name == Name::Other
            && SIGNED_WHEN_PRESENT.iter().any(|n| block.name(f).eq_ignore_ascii_case(n.as_bytes()))
    };
    match block.fields.iter().filter(is_signed).nth(MAX_SIGNED_WHEN_PRESENT) {
        Some(field) => Err(rules::TOO_MANY_SIGNED_FIELDS.at(block.name(field))),
        None => Ok(()),
    }
}

struct Reader<'a, 'b> {
    block: &'a Block<'b>,
    options: &'a ValidateOptions,
    head: Head,
    /// Mailboxes in From, once it was seen.
    from: Option<usize>,
    sender: bool,
    date: Option<DateField>,
}

/// What is known of Date.
enum DateField {
    Stays,
    /// Malformed, removed, and to be written in this form.
    Corrected(String),
}

impl Reader<'_, '_> {
    fn field(&mut self, field: &Field) -> Checked<()> {
        match field.name {
            Name::From => {
                self.from = Some(self.author_list(field, AuthorRole::From)?);
                self.head.from_field = self.block.unfolded(field);
            }
            Name::Subject => self.head.subject = subject::readable(&self.block.unfolded(field)),
            Name::ResentFrom => {
                self.author_list(field, AuthorRole::ResentFrom)?;
            }
            Name::Sender => {
                self.sender = true;
                self.single_author(field, AuthorRole::Sender)?;
            }
            Name::ResentSender => self.single_author(field, AuthorRole::ResentSender)?,
            Name::ReplyTo | Name::To | Name::Cc | Name::ResentTo | Name::ResentCc => {
                self.recipients(field)?
            }
            Name::Date if self.keep_unless_empty(field) => self.date = Some(self.check_date(field)?),
            Name::ResentDate => self.check_resent_date(field)?,
            Name::MessageId if self.keep_unless_empty(field) => self.message_id(field),
            Name::InReplyTo | Name::References => {
                self.keep_unless_empty(field);
            }
            Name::MimeVersion => self.mime_version(field)?,
            Name::ContentType | Name::ContentTransferEncoding => self.head.mime_fields = true,
            Name::Received => self.received()?,
            Name::Bcc => self.remove(field, "bcc-removed"),
            Name::ResentBcc => self.remove(field, "resent-bcc-removed"),
            Name::ReturnPath => self.remove(field, "return-path-removed"),
            Name::ContentLength => self.remove(field, "content-length-removed"),
            Name::Other if !self.options.downgrade => self.option(field),
            Name::AuthenticationResults if self.names_us(field) => {
                self.remove(field, "authentication-results-removed");
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(mut self) -> Checked<Head> {
        let Some(mailboxes) = self.from else { return Err(rules::FROM_MISSING.at("")) };
        if mailboxes > 1 && !self.sender {
            return Err(rules::SENDER_MISSING.at(""));
        }
        if self.options.downgrade {
            return Ok(self.head);
        }
        match self.date.take() {
            Some(DateField::Stays) => {}
            Some(DateField::Corrected(date)) => {
                self.add("Date", &date);
                self.note("date-corrected", date);
            }
            None => {
                let date = date::format(self.options.now);
                self.add("Date", &date);
                self.note("date-added", date);
            }
        }
        if self.head.message_id.is_empty() {
            let author = self.head.authors.iter().find(|a| a.role == AuthorRole::From);
            let domain = author.map_or("localhost", |a| a.domain.as_str());
            let id = format!("<{}@{domain}>", self.options.message_id_left);
            self.add("Message-ID", &id);
            self.note("message-id-added", id.clone());
            self.head.message_id = id;
        }
        Ok(self.head)
    }

    fn add(&mut self, name: &str, value: &str) {
        for piece in [name, ": ", value, "\r\n"] {
            self.head.added_headers.extend_from_slice(piece.as_bytes());
        }
    }

    fn note(&mut self, name: &str, detail: String) {
        self.head.fixes.push(Note { name: name.into(), detail });
    }

    fn remove(&mut self, field: &Field, note: &str) {
        if self.options.downgrade {
            return;
        }
        self.cut(field);
        let name = String::from_utf8_lossy(self.block.name(field)).into_owned();
        self.note(note, name);
    }

    fn cut(&mut self, field: &Field) {
        let at = self.block.span(field);
        self.head.removals.push(Edit { at, encoding: Encoding::Identity, segments: Vec::new(), part: None });
    }

    /// A field that speaks to us alone goes no further.
    fn option(&mut self, field: &Field) {
        if self.head.options.take(self.block, field, self.options.now) {
            self.cut(field);
        }
    }

    /// A field whose value must not be empty and is: removed, as if it had not been written.
    fn keep_unless_empty(&mut self, field: &Field) -> bool {
        let empty = self.block.value(field).iter().all(u8::is_ascii_whitespace);
        if empty {
            self.remove(field, "empty-field-removed");
        }
        !empty
    }

    fn list(&self, field: &Field) -> Checked<List> {
        address::parse_list(self.block.value(field)).map_err(|fault| {
            let rule = match fault {
                Fault::Syntax => rules::ADDRESS_SYNTAX,
                Fault::Route => rules::ADDRESS_ROUTE,
            };
            rule.at(self.block.name(field))
        })
    }

    /// From and Resent-From. Groups are legal by RFC 6854 for gateways that have no address to
    /// show; a submission has an author to authorise, so they are refused.
    fn author_list(&mut self, field: &Field, role: AuthorRole) -> Checked<usize> {
        let list = self.list(field)?;
        if list.groups > 0 {
            return Err(rules::FROM_GROUP.at(self.block.name(field)));
        }
        if list.mailboxes.is_empty() {
            return Err(rules::FROM_EMPTY.at(self.block.name(field)));
        }
        if list.gaps > 0 {
            return Err(rules::ADDRESS_SYNTAX.at(self.block.name(field)));
        }
        if self.head.authors.len() + list.mailboxes.len() > MAX_AUTHORS {
            return Err(rules::TOO_MANY_AUTHORS.at(self.block.name(field)));
        }
        self.authors(&list, role)
    }

    fn single_author(&mut self, field: &Field, role: AuthorRole) -> Checked<()> {
        let list = self.list(field)?;
        if list.groups > 0 || list.gaps > 0 || list.mailboxes.len() != 1 {
            return Err(rules::SENDER_SYNTAX.at(self.block.name(field)));
        }
        self.authors(&list, role).map(|_| ())
    }

    fn authors(&mut self, list: &List, role: AuthorRole) -> Checked<usize> {
        for mailbox in &list.mailboxes {
            let domain = domain::to_ascii(mailbox.domain())
                .ok_or_else(|| rules::ADDRESS_DOMAIN.at(mailbox.domain()))?;
            let address = String::from_utf8_lossy(&mailbox.address).into_owned();
            // What an envelope refuses, white space and marks that turn text among it, is no author
            // either.
            Address::parse(&address).map_err(|fault| rules::AUTHOR_ADDRESS.at(format!("{fault}")))?;
            self.head.authors.push(Author { role, address, domain });
        }
        Ok(list.mailboxes.len())
    }

    /// Nobody is authorised by these: one that does not parse is noted, and refused only where that
    /// is asked for.
    fn recipients(&mut self, field: &Field) -> Checked<()> {
        match self.list(field) {
            Ok(list) if list.mailboxes.is_empty() && list.groups == 0 => {
                self.remove(field, "empty-field-removed")
            }
            Ok(_) => {}
            Err(refusal) if self.options.strict_headers => return Err(refusal),
            Err(_) => {
                let name = String::from_utf8_lossy(self.block.name(field)).into_owned();
                self.note("address-malformed", name);
            }
        }
        Ok(())
    }

    /// RFC 6409 section 8.2: a date that can be read is written as it should be, unless somebody
    /// signed it as it is.
    fn check_date(&mut self, field: &Field) -> Checked<DateField> {
        let value = self.block.value(field);
        if date::is_date(value) || self.options.downgrade {
            return Ok(DateField::Stays);
        }
        let date = repair::date(value).ok_or_else(|| rules::DATE_SYNTAX.at(shown(value)))?;
        if self.head.signed {
            self.note("date-malformed", String::from_utf8_lossy(&shown(value)).into_owned());
            return Ok(DateField::Stays);
        }
        self.cut(field);
        Ok(DateField::Corrected(date))
    }

    /// Written by whoever sent the message again: noted, and left as it is.
    fn check_resent_date(&mut self, field: &Field) -> Checked<()> {
        let value = self.block.value(field);
        if date::is_date(value) {
            return Ok(());
        }
        repair::date(value).ok_or_else(|| rules::DATE_SYNTAX.at(shown(value)))?;
        self.note("date-malformed", String::from_utf8_lossy(self.block.name(field)).into_owned());
        Ok(())
    }

    /// RFC 6409 section 8.3: one that is malformed is replaced, unless somebody signed it as it is.
    fn message_id(&mut self, field: &Field) {
        let value = self.block.value(field);
        if let Some(id) = message_id(value) {
            self.head.message_id = id;
            return;
        }
        let text = String::from_utf8_lossy(&shown(value)).into_owned();
        if self.head.signed || self.options.downgrade {
            self.head.message_id.clone_from(&text);
            self.note("message-id-malformed", text);
        } else {
            self.cut(field);
            self.note("message-id-replaced", text);
        }
    }

    fn mime_version(&mut self, field: &Field) -> Checked<()> {
        let value = self.block.value(field);
        let mut lexer = Lexer::new(value);
        let mut read = || -> Result<bool, crate::lexer::Malformed> {
            lexer.skip_cfws()?;
            let major = lexer.eat(b'1');
            lexer.skip_cfws()?;
            let dot = lexer.eat(b'.');
            lexer.skip_cfws()?;
            let minor = lexer.eat(b'0');
            lexer.skip_cfws()?;
            Ok(major && dot && minor && lexer.is_at_end())
        };
        if read() != Ok(true) {
            return Err(rules::MIME_VERSION.at(shown(value)));
        }
        self.head.mime_version = true;
        Ok(())
    }

    fn received(&mut self) -> Checked<()> {
        self.head.received += 1;
        if self.head.received > self.options.max_received && !self.options.downgrade {
            return Err(rules::RECEIVED_LOOP.at(format!("more than {}", self.options.max_received)));
        }
        Ok(())
    }

    /// RFC 8601 section 2.2: the first value is the authserv-id.
    fn names_us(&self, field: &Field) -> bool {
        let mut lexer = Lexer::new(self.block.value(field));
        if lexer.skip_cfws().is_err() {
            return false;
        }
        let id = match lexer.peek() {
            Some(b'"') => lexer.quoted().map(unquote).unwrap_or_default(),
            _ => lexer.run(|b| b > b' ' && !matches!(b, b';' | b'(')).to_vec(),
        };
        id.eq_ignore_ascii_case(self.options.hostname.as_bytes())
    }
}

/// MIME-Version, Content-*, and a Subject that is empty.
fn describes_content(block: &Block<'_>, field: &Field) -> bool {
    match field.name {
        Name::MimeVersion => true,
        Name::Subject => block.value(field).iter().all(u8::is_ascii_whitespace),
        _ => block.name(field).get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"content-")),
    }
}

/// RFC 5322 section 3.6.4: one `@`, outside of quotes. The left side is not held to be a dot-atom:
/// identifiers are only compared.
fn message_id(value: &[u8]) -> Option<String> {
    let mut lexer = Lexer::new(value);
    lexer.skip_cfws().ok()?;
    lexer.eat(b'<').then_some(())?;
    let quoted = if lexer.peek() == Some(b'"') { lexer.quoted().ok()? } else { b"" };
    let left = lexer.run(|b| is_id(b) && b != b'@');
    lexer.eat(b'@').then_some(())?;
    let right = lexer.run(|b| is_id(b) && b != b'@');
    lexer.eat(b'>').then_some(())?;
    lexer.skip_cfws().ok()?;
    let quoted_well = quoted.iter().all(|b| is_id(*b) && *b != b'@');
    if !quoted_well || quoted.len() + left.len() == 0 || right.is_empty() || !lexer.is_at_end() {
        return None;
    }
    let (quoted, left, right) = (
        std::str::from_utf8(quoted).ok()?,
        std::str::from_utf8(left).ok()?,
        std::str::from_utf8(right).ok()?,
    );
    Some(format!("<{quoted}{left}@{right}>"))
}

fn is_id(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f && !matches!(byte, b'<' | b'>')
}

#[cfg(test)]
mod tests {
    use super::message_id;

    #[test]
    fn a_message_id_has_one_at_sign() {
        for good in ["<a@b>", " (c) <a.b!c@[x]> (d)", "<\"a\"@b>", "<\"q\"x@y>"] {
            assert!(message_id(good.as_bytes()).is_some(), "{good}");
        }
        for bad in [
            "",
            "<>",
            "a@b",
            "<123456>",
            "<a@b@c>",
            "<@b>",
            "<a@>",
            "<a @b>",
            "<a@b> x",
            "<a@b",
            "<\"a@c\"@b>",
        ] {
            assert_eq!(message_id(bad.as_bytes()), None, "{bad}");
        }
    }
}
