//! Checks `[classify]`.

use std::path::Path;

use relevo_classify::Rules;

use super::document::Document;
use super::schema::File;

/// Octets of a file of rules.
const MAX_FILE: u64 = 1 << 20;

/// The text of the operator's rules, without a mistake in it. None: the rules of the component.
pub(crate) fn rules(d: &mut Document<'_>, file: &File) -> Option<String> {
    let at = file.classify.rules.at()?;
    let path = d.path(&at.value);
    let text = match read(&path) {
        Ok(text) => text,
        Err(why) => {
            d.mistake(at.span, format!("{}: {why}", path.display()));
            return None;
        }
    };
    match Rules::parse(&text) {
        Ok(rules) => {
            for wrong in rules.wrong_cases() {
                d.mistake_in_file(
                    &path,
                    0,
                    &wrong.rule,
                    format!("{:?} is decided by {}", wrong.case, wrong.decided_by),
                );
            }
        }
        Err(error) => {
            let line = error.line.and_then(|line| usize::try_from(line).ok()).unwrap_or(0);
            d.mistake_in_file(&path, line, error.rule.as_deref().unwrap_or_default(), error.message);
        }
    }
    Some(text)
}

fn read(path: &Path) -> Result<String, String> {
    let octets = relevo_keys::read_file(path, MAX_FILE).map_err(|error| error.to_string())?;
    String::from_utf8(octets).map_err(|_| "is not UTF-8".to_owned())
}
