//! Header fields on top of a source.

use std::io;
use std::sync::Arc;

use relevo_mailkit::source::Source;

/// `top`, then `rest`. Neither is copied.
pub(super) struct Prefixed {
    top: Vec<u8>,
    rest: Arc<dyn Source>,
}

impl Prefixed {
    pub(super) fn new(top: Vec<u8>, rest: Arc<dyn Source>) -> Self {
        Self { top, rest }
    }
}

impl Source for Prefixed {
    fn size(&self) -> u64 {
        self.top.size() + self.rest.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.top.read_at(offset, buf)?;
        if n == buf.len() {
            return Ok(n);
        }
        let below = (offset + n as u64).saturating_sub(self.top.size());
        Ok(n + self.rest.read_at(below, &mut buf[n..])?)
    }

    fn slice_at(&self, offset: u64) -> Option<&[u8]> {
        match offset.checked_sub(self.top.size()) {
            None => self.top.slice_at(offset),
            Some(below) => self.rest.slice_at(below),
        }
    }

    fn is_in_memory(&self) -> bool {
        self.rest.is_in_memory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_end_at_the_seam() {
        let source = Prefixed::new(b"abc".to_vec(), Arc::new(b"defg".to_vec()));
        for (offset, want) in [(0, "abc"), (2, "c"), (3, "defg"), (6, "g"), (7, "")] {
            assert_eq!(source.slice_at(offset), Some(want.as_bytes()));
        }
        assert_eq!(source.slice_at(8), None);
    }

    #[test]
    fn reads_across_the_seam() {
        let source = Prefixed::new(b"abc".to_vec(), Arc::new(b"defg".to_vec()));
        assert_eq!(source.size(), 7);
        for from in 0..8_usize {
            for len in 0..8_usize {
                let mut buf = vec![0; len];
                let n = source.read_at(from as u64, &mut buf).expect("memory");
                let want = &b"abcdefg"[from.min(7)..(from + len).min(7).max(from.min(7))];
                assert_eq!(&buf[..n], want);
            }
        }
    }
}
