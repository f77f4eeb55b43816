//! Line ends on the way out.

/// What a message may not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEndError {
    /// CR without LF.
    BareCr,
    /// LF without CR.
    BareLf,
    /// NUL.
    Nul,
}

impl std::fmt::Display for LineEndError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::BareCr => "bare CR",
            Self::BareLf => "bare LF",
            Self::Nul => "NUL",
        })
    }
}

impl std::error::Error for LineEndError {}

/// Checks a message in chunks: only CRLF ends lines, and there is no NUL.
#[derive(Debug, Clone, Default)]
pub struct LineEnds {
    after_cr: bool,
    at_text: bool,
}

impl LineEnds {
    /// The next chunk.
    ///
    /// # Errors
    /// The first violation. What is pushed after one is not meaningful.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), LineEndError> {
        for &c in chunk {
            match (c, self.after_cr) {
                (b'\n', true) | (1..=b'\t' | 11 | 12 | 14.., false) => {}
                (b'\r', false) => {}
                (b'\n', false) => return Err(LineEndError::BareLf),
                (0, false) => return Err(LineEndError::Nul),
                (_, true) => return Err(LineEndError::BareCr),
            }
            self.after_cr = c == b'\r';
            self.at_text = c != b'\n';
        }
        Ok(())
    }

    /// The end of the message, which may lack its last CRLF.
    ///
    /// # Errors
    /// A CR at the very end.
    pub fn finish(&self) -> Result<(), LineEndError> {
        if self.after_cr { Err(LineEndError::BareCr) } else { Ok(()) }
    }

    /// Whether what was pushed is empty or ends with CRLF.
    #[must_use]
    pub fn ends_with_line(&self) -> bool {
        !self.at_text
    }
}
