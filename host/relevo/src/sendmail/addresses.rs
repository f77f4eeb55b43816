//! The addresses of To, Cc, Bcc and of the command line (RFC 5322 section 3.4).

/// Reads a list of mailboxes and groups: the addresses without names and comments, as they stand.
///
/// # Errors
/// The mistake, in words.
pub(super) fn list(text: &str) -> Result<Vec<String>, String> {
    let mut reader = Reader { rest: text, found: Vec::new(), plain: String::new(), angle: None };
    while let Some(c) = reader.rest.chars().next() {
        reader.character(c)?;
    }
    reader.end()?;
    Ok(reader.found)
}

struct Reader<'a> {
    rest: &'a str,
    found: Vec<String>,
    /// The entry's text outside of angle brackets.
    plain: String,
    angle: Option<String>,
}

impl<'a> Reader<'a> {
    fn character(&mut self, c: char) -> Result<(), String> {
        match c {
            '"' => {
                let quoted = self.take(enclosed(self.rest, '"', '"')?);
                self.plain.push_str(quoted);
            }
            '(' => {
                self.take(enclosed(self.rest, '(', ')')?);
            }
            '[' => {
                let literal = self.take(enclosed(self.rest, '[', ']')?);
                self.plain.push_str(literal);
            }
            '<' => {
                let angle = self.take(enclosed(self.rest, '<', '>')?);
                let inner = angle.trim_start_matches('<').trim_end_matches('>').trim();
                if self.angle.replace(inner.to_owned()).is_some() {
                    return Err("two addresses without a comma between them".to_owned());
                }
            }
            ',' | ';' => {
                self.take(1);
                self.end()?;
            }
            // The name of a group.
            ':' => {
                self.take(1);
                self.plain.clear();
            }
            c => {
                self.take(c.len_utf8());
                self.plain.push(c);
            }
        }
        Ok(())
    }

    fn take(&mut self, octets: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(octets);
        self.rest = rest;
        taken
    }

    /// The end of an entry.
    fn end(&mut self) -> Result<(), String> {
        let plain = std::mem::take(&mut self.plain);
        match (self.angle.take(), plain.trim()) {
            (Some(address), _) => self.found.push(address),
            (None, "") => {}
            (None, plain) if plain.contains(char::is_whitespace) && !plain.starts_with('"') => {
                return Err(format!("`{}` is not an address", plain.escape_debug()));
            }
            (None, plain) => self.found.push(plain.to_owned()),
        }
        Ok(())
    }
}

/// Octets up to and including what closes the beginning of `text`. Comments nest.
fn enclosed(text: &str, open: char, close: char) -> Result<usize, String> {
    let mut depth = 0_usize;
    let mut characters = text.char_indices().enumerate();
    while let Some((index, (at, c))) = characters.next() {
        match c {
            '\\' if open != '[' => {
                characters.next();
            }
            c if c == close && index > 0 => {
                depth -= 1;
                if depth == 0 {
                    return Ok(at + c.len_utf8());
                }
            }
            c if c == open && (index == 0 || open == '(') => depth += 1,
            _ => {}
        }
    }
    Err(format!("`{open}` is not closed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_as_programs_write_them() {
        for (text, expected) in [
            ("", &[][..]),
            ("a@b.example", &["a@b.example"]),
            ("Ana <a@b.example>, bo@c.example", &["a@b.example", "bo@c.example"]),
            (r#""Núñez, \"Ana\"" < a@b.example >,, root"#, &["a@b.example", "root"]),
            ("a@b.example (Ana (of Madrid), boss)", &["a@b.example"]),
            (
                "friends: a@b.example, Bo <bo@c.example>;, d@e.example",
                &["a@b.example", "bo@c.example", "d@e.example"],
            ),
            ("undisclosed-recipients:;", &[]),
            ("a@[IPv6:::1]", &["a@[IPv6:::1]"]),
            (r#""a b"@c.example"#, &[r#""a b"@c.example"#]),
            ("a@b.example,\r\n\tc@d.example", &["a@b.example", "c@d.example"]),
        ] {
            assert_eq!(list(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_broken_list_is_refused() {
        for text in ["Ana a@b.example", "<a@b.example> <c@d.example>", "\"a", "(a", "<a@b.example"] {
            assert!(list(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_list_is_too_broken_to_be_read(text in "[a@. ,;:<>()\\[\\]\"\\\\é]{0,40}") {
            for address in list(&text).unwrap_or_default() {
                proptest::prop_assert!(!address.is_empty() || text.contains('<'));
                proptest::prop_assert!(address.chars().all(|c| text.contains(c)));
            }
        }

        #[test]
        fn what_is_joined_is_parted(addresses in proptest::collection::vec("[a-z]{1,8}@[a-z]{1,8}\\.example", 0..6)) {
            let named: Vec<String> = addresses.iter().map(|address| format!("\"A, b\" <{address}>")).collect();
            proptest::prop_assert_eq!(list(&addresses.join(", ")), Ok(addresses.clone()));
            proptest::prop_assert_eq!(list(&named.join(",\r\n ")), Ok(addresses));
        }
    }
}
