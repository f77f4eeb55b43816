//! Whether octets that come in pieces are UTF-8.

/// Checks pieces; keeps a character that is cut by the end of a piece.
#[derive(Debug, Default)]
pub(crate) struct Utf8 {
    kept: Vec<u8>,
    invalid: bool,
}

impl Utf8 {
    pub(crate) fn push(&mut self, mut piece: &[u8]) {
        // At most three octets are kept, and at most three more complete them.
        while let (false, Some((&byte, rest))) = (self.kept.is_empty(), piece.split_first()) {
            self.kept.push(byte);
            piece = rest;
            match std::str::from_utf8(&self.kept) {
                Ok(_) => self.kept.clear(),
                Err(e) if e.error_len().is_none() => {}
                Err(_) => {
                    self.invalid = true;
                    self.kept.clear();
                }
            }
        }
        if let Err(error) = std::str::from_utf8(piece) {
            match error.error_len() {
                None => self.kept.extend_from_slice(&piece[error.valid_up_to()..]),
                Some(_) => self.invalid = true,
            }
        }
    }

    /// Everything so far is valid and no character is cut.
    pub(crate) fn is_complete(&self) -> bool {
        !self.invalid && self.kept.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_read_as_the_whole() {
        for text in
            ["é漢😀".as_bytes(), b"\xc3", b"\xc3\x28a", b"a\xff", b"\xe2\x82", b"\xf0\x9f\x98\x80\x80"]
        {
            for size in 1..=text.len() {
                let mut utf8 = Utf8::default();
                text.chunks(size).for_each(|c| utf8.push(c));
                assert_eq!(utf8.is_complete(), std::str::from_utf8(text).is_ok(), "{text:?} {size}");
            }
        }
    }
}
