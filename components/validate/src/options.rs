//! The `X-Relevo-*` fields of a message: read, and removed whatever they say.

use relevo_api::headers::{OptionFields, is_option};
use relevo_api::problem::Problem;
use relevo_mailkit::model::{MessageOptions, Refusal};

use crate::header::{Block, Field};
use crate::{rules, words};

/// Octets of a field as it stands: a longer one is not decoded. Encoded words take three octets for
/// one.
const MAX_FIELD: usize = 256 << 10;

/// What the fields said so far.
#[derive(Debug, Default)]
pub(crate) struct Options {
    fields: Option<OptionFields>,
    mistake: Option<Problem>,
}

impl Options {
    /// Takes a field if it is one of these. `now` is in seconds since 1970. Returns true if it is:
    /// then it must be removed.
    pub(crate) fn take(&mut self, block: &Block<'_>, field: &Field, now: i64) -> bool {
        // Names are printable ASCII, or they would not be fields.
        let Some(name) = std::str::from_utf8(block.name(field)).ok().filter(|name| is_option(name)) else {
            return false;
        };
        if self.mistake.is_some() {
            return true;
        }
        let milliseconds = u64::try_from(now).unwrap_or(0).saturating_mul(1_000);
        let fields = self.fields.get_or_insert_with(|| OptionFields::new(milliseconds));
        let unfolded = block.unfolded(field);
        let taken = match words::value(&unfolded) {
            long if long.len() > MAX_FIELD => Err(Problem::new(name, "is too long")),
            value => fields.take(name, &words::decoded(&String::from_utf8_lossy(value), usize::MAX)),
        };
        self.mistake = taken.err();
        true
    }

    /// The options, or the mistake in them as the reply that it deserves.
    pub(crate) fn finish(self) -> Result<MessageOptions, Refusal> {
        let finished = match (self.mistake, self.fields) {
            (Some(mistake), _) => Err(mistake),
            (None, Some(fields)) => fields.finish(),
            (None, None) => Ok(MessageOptions::default()),
        };
        finished.map_err(|Problem { param, message }| {
            rules::OPTION_FIELD.says(format!("{param}: {}", message.replace('`', "'")))
        })
    }
}
