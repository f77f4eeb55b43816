//! Address lists (RFC 5322 section 3.4, with the obsolete forms that are harmless).

use crate::lexer::{Lexer, Malformed, is_atext};

/// Why a list of addresses was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Syntax,
    /// `<@a,@b:c@d>` (section 4.4): nobody sends it, and it hides the address.
    Route,
}

impl From<Malformed> for Fault {
    fn from(_: Malformed) -> Self {
        Self::Syntax
    }
}

/// A mailbox without display name and comments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mailbox {
    /// `local@domain` as written.
    pub(crate) address: Vec<u8>,
    /// Where the `@` is.
    pub(crate) at: usize,
}

impl Mailbox {
    pub(crate) fn domain(&self) -> &[u8] {
        &self.address[self.at + 1..]
    }
}

/// What a list holds.
#[derive(Debug, Default)]
pub(crate) struct List {
    pub(crate) mailboxes: Vec<Mailbox>,
    /// Groups, and whether the list has empty members (section 4.4).
    pub(crate) groups: usize,
    pub(crate) gaps: usize,
}

/// Reads a whole field value. An empty value is an empty list with one gap.
pub(crate) fn parse_list(value: &[u8]) -> Result<List, Fault> {
    let mut lexer = Lexer::new(value);
    let mut list = List::default();
    let mut in_group = false;
    let mut member = false;
    loop {
        lexer.skip_cfws()?;
        match lexer.peek() {
            None | Some(b',') => {
                list.gaps += usize::from(!member);
                member = false;
                if lexer.is_at_end() {
                    return if in_group { Err(Fault::Syntax) } else { Ok(list) };
                }
                lexer.advance();
            }
            Some(b';') if in_group => {
                lexer.advance();
                in_group = false;
                member = true;
            }
            // Two members need a comma between them.
            Some(_) if member => return Err(Fault::Syntax),
            Some(_) => match address(&mut lexer)? {
                Some(mailbox) => {
                    list.mailboxes.push(mailbox);
                    member = true;
                }
                None if in_group => return Err(Fault::Syntax),
                None => {
                    list.groups += 1;
                    in_group = true;
                }
            },
        }
    }
}

/// One mailbox, or `None` for the start of a group, up to and including the colon.
fn address(lexer: &mut Lexer<'_>) -> Result<Option<Mailbox>, Fault> {
    let words = words(lexer)?;
    match lexer.peek() {
        Some(b'@') if words.is_local => {
            lexer.advance();
            Ok(Some(with_domain(lexer, words.text)?))
        }
        Some(b'<') => {
            lexer.advance();
            Ok(Some(angle(lexer)?))
        }
        Some(b':') if !words.text.is_empty() => {
            lexer.advance();
            Ok(None)
        }
        _ => Err(Fault::Syntax),
    }
}

fn angle(lexer: &mut Lexer<'_>) -> Result<Mailbox, Fault> {
    lexer.skip_cfws()?;
    if lexer.peek() == Some(b'@') {
        return Err(Fault::Route);
    }
    let local = words(lexer)?;
    if !local.is_local || !lexer.eat(b'@') {
        return Err(Fault::Syntax);
    }
    let mailbox = with_domain(lexer, local.text)?;
    if lexer.eat(b'>') { Ok(mailbox) } else { Err(Fault::Syntax) }
}

struct Words {
    /// The words and dots without comments and white space.
    text: Vec<u8>,
    /// Words with single dots between: a local part (section 3.4.1, and obs-local-part).
    is_local: bool,
}

/// Words and dots: a local part or the obsolete phrase, whatever follows decides.
fn words(lexer: &mut Lexer<'_>) -> Result<Words, Fault> {
    let mut text = Vec::new();
    let mut is_local = true;
    let mut after_word = false;
    loop {
        match lexer.peek() {
            Some(b'.') => {
                is_local &= after_word;
                after_word = false;
                text.push(b'.');
                lexer.advance();
            }
            Some(b'"') => {
                is_local &= !after_word;
                after_word = true;
                text.extend(lexer.quoted()?.iter().filter(|b| !matches!(b, b'\r' | b'\n')));
            }
            Some(byte) if is_atext(byte) => {
                is_local &= !after_word;
                after_word = true;
                text.extend_from_slice(lexer.run(is_atext));
            }
            _ => return Ok(Words { is_local: is_local && after_word, text }),
        }
        lexer.skip_cfws()?;
    }
}

fn with_domain(lexer: &mut Lexer<'_>, mut address: Vec<u8>) -> Result<Mailbox, Fault> {
    let at = address.len();
    address.push(b'@');
    lexer.skip_cfws()?;
    if lexer.eat(b'[') {
        address.push(b'[');
        address.extend_from_slice(lexer.run(|b| (b'!'..=b'~').contains(&b) && !b"[]\\".contains(&b)));
        if !lexer.eat(b']') {
            return Err(Fault::Syntax);
        }
        address.push(b']');
        lexer.skip_cfws()?;
        return Ok(Mailbox { address, at });
    }
    loop {
        let label = lexer.run(is_atext);
        if label.is_empty() {
            return Err(Fault::Syntax);
        }
        address.extend_from_slice(label);
        lexer.skip_cfws()?;
        if !lexer.eat(b'.') {
            return Ok(Mailbox { address, at });
        }
        address.push(b'.');
        lexer.skip_cfws()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<String> {
        parse_list(text.as_bytes())
            .unwrap()
            .mailboxes
            .into_iter()
            .map(|m| String::from_utf8(m.address).unwrap())
            .collect()
    }

    #[test]
    fn mailboxes() {
        assert_eq!(addresses(" a@b.example"), ["a@b.example"]);
        assert_eq!(addresses("\"Q, \\\"x\\\"\" <a@b>, c (d(e)\\)) . d @ e . f"), ["a@b", "c.d@e.f"]);
        assert_eq!(addresses("John Q. Public <j@p>"), ["j@p"]);
        assert_eq!(addresses("\"a b\"@c"), ["\"a b\"@c"]);
        assert_eq!(addresses("<a@[192.0.2.1]>"), ["a@[192.0.2.1]"]);
        assert_eq!(
            addresses("Jos\u{e9} <jos\u{e9}@m\u{fc}nchen.example>"),
            ["jos\u{e9}@m\u{fc}nchen.example"]
        );
        assert_eq!(addresses("team: a@b, c@d;, e@f"), ["a@b", "c@d", "e@f"]);
        assert!(addresses("undisclosed-recipients:;").is_empty());
    }

    #[test]
    fn faults() {
        for text in [
            "a",
            "a@",
            "@b",
            "<>",
            "a@b c@d",
            "a@b> ",
            "<a@b",
            "a b@c",
            "a..b@c",
            ".a@b",
            "a.@b",
            "a@b..c",
            "x@y <a@b>",
            "\"a@b",
            "a@b (",
            "a@[1",
            "g: a@b",
            "g: h: a@b;;",
            "a@b;",
            "<a@b> x",
            "a@b,c",
            "\"x\\",
        ] {
            assert_eq!(parse_list(text.as_bytes()).map(|_| ()), Err(Fault::Syntax), "{text}");
        }
        assert_eq!(parse_list(b"<@x,@y:a@b>").map(|_| ()), Err(Fault::Route));
    }

    #[test]
    fn gaps() {
        assert_eq!(parse_list(b"").unwrap().gaps, 1);
        assert_eq!(parse_list(b"a@b, ").unwrap().gaps, 1);
        assert_eq!(parse_list(b"a@b").unwrap().gaps, 0);
        assert_eq!(parse_list(b" (x) ").unwrap().gaps, 1);
    }
}
