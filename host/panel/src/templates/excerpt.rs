//! The lines of a source that a mistake is at.

/// Lines before and behind the one with the mistake.
const AROUND: usize = 2;
/// Characters of a line that are shown.
const WIDTH: usize = 160;
/// Characters before the column of the mistake in a line that is longer.
const BEFORE: usize = 60;

/// A line of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceLine {
    pub(super) number: usize,
    pub(super) text: String,
    /// Blanks up to the mistake, and a mark below it. None: the mistake is not in this line.
    pub(super) mark: Option<String>,
}

/// The lines of a source that a mistake is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Excerpt {
    /// The field of the form.
    pub(super) field: &'static str,
    /// From 1.
    pub(super) line: usize,
    pub(super) lines: Vec<SourceLine>,
}

impl SourceLine {
    /// The number before the line.
    pub(super) fn label(&self) -> String {
        format!("{:>5} | ", self.number)
    }
}

impl Excerpt {
    /// The lines that the message of a mistake at a parameter names. `source` finds the field of the
    /// form and its text by the name of a source.
    pub(super) fn of<'s>(
        param: &str,
        message: &str,
        source: impl Fn(&str) -> Option<(&'static str, &'s str)>,
    ) -> Option<Self> {
        let (line, column) = place(message)?;
        let place = match param.starts_with("variables.") {
            true => message.split("this variable in its ").nth(1)?.split([' ', ',']).next()?,
            false => param,
        };
        let (field, text) = source(place)?;
        let first = line.saturating_sub(AROUND + 1);
        let lines: Vec<SourceLine> = text
            .lines()
            .enumerate()
            .skip(first)
            .take(line + AROUND - first)
            .map(|(index, text)| source_line(index + 1, text, (index + 1 == line).then_some(column)))
            .collect();
        lines.iter().any(|shown| shown.mark.is_some()).then_some(Self { field, line, lines })
    }
}

fn source_line(number: usize, text: &str, mistake: Option<Option<usize>>) -> SourceLine {
    let column = mistake.flatten().map(|column| column.saturating_sub(1));
    let is_long = text.chars().nth(WIDTH).is_some();
    let skipped = if is_long { column.unwrap_or_default().saturating_sub(BEFORE) } else { 0 };
    let shown: String = text.chars().skip(skipped).take(WIDTH).collect();
    let mark = mistake.map(|_| match column {
        Some(column) => {
            let before = shown.chars().take(column - skipped);
            let blanks: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            blanks + "^"
        }
        None => "^".repeat(shown.chars().count().clamp(1, WIDTH)),
    });
    SourceLine { number, text: shown, mark }
}

/// The place that ends a message: `(line 3)` or `(line 3, column 7)`.
fn place(message: &str) -> Option<(usize, Option<usize>)> {
    let behind = message.rsplit_once("(line ")?.1.split(')').next()?;
    match behind.split_once(", column ") {
        Some((line, column)) => Some((line.parse().ok()?, column.parse().ok())),
        None => Some((behind.parse().ok()?, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str) -> Option<(&'static str, &'static str)> {
        (name == "html").then_some(("source", "one\ntwo\n\t{{ three\nfour\nfive\nsix"))
    }

    #[test]
    fn the_line_of_a_mistake_is_shown_with_those_around_it() {
        let found = Excerpt::of("html", "is wrong (line 3, column 5)", source).expect("a place");
        assert_eq!((found.field, found.line, found.lines.len()), ("source", 3, 5));
        let numbers: Vec<_> = found.lines.iter().map(|line| line.number).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5]);
        assert_eq!(found.lines[2].mark.as_deref(), Some("\t   ^"));
        let message = "the template uses this variable in its html (line 1), and it is not given";
        let found = Excerpt::of("variables.user.name", message, source).expect("a place");
        assert_eq!((found.line, found.lines[0].mark.as_deref()), (1, Some("^^^")));
    }

    #[test]
    fn a_message_without_a_place_that_is_there_has_none() {
        assert_eq!(Excerpt::of("html", "is wrong", source), None);
        assert_eq!(Excerpt::of("text", "is wrong (line 1)", source), None);
        assert_eq!(Excerpt::of("html", "is wrong (line 99)", source), None);
        assert_eq!(Excerpt::of("html", "is wrong (line x, column y)", source), None);
    }

    #[test]
    fn a_long_line_is_cut_around_the_mistake() {
        let long = "é".repeat(5_000);
        let found = Excerpt::of("html", "m (line 1, column 3001)", |_| Some(("source", &long)));
        let line = &found.expect("a place").lines[0];
        assert_eq!(line.text.chars().count(), WIDTH);
        assert_eq!(line.mark.as_deref().map(str::len), Some(BEFORE + 1));
    }
}
