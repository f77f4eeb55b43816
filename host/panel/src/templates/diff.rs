//! What differs between two versions.

use std::time::Duration;

use similar::{ChangeTag, TextDiff};

use super::model::VersionContent;

/// Lines without a change around those that changed.
const AROUND: usize = 3;
/// Lines that are shown of a field.
const MAX_LINES: usize = 400;
/// Characters that are shown of a line.
const MAX_WIDTH: usize = 400;
/// How long the search for a short difference may take. Behind it, the difference is coarser.
const LONGEST_SEARCH: Duration = Duration::from_millis(200);

/// A line of a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DiffLine {
    /// `+`, `-`, a blank, or `…` for lines that are left out.
    pub(super) sign: char,
    pub(super) text: String,
}

/// What differs in a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldDiff {
    /// The key of its text in the group `template`.
    pub(super) field: &'static str,
    pub(super) lines: Vec<DiffLine>,
    /// More lines differ than are shown.
    pub(super) is_cut: bool,
}

/// What differs between two versions, field by field.
pub(super) fn between(old: &VersionContent, new: &VersionContent) -> Vec<FieldDiff> {
    let all = fields(old).into_iter().zip(fields(new));
    let differing = all.filter(|((_, old), (_, new))| old != new);
    differing.map(|((field, old), (_, new))| field_diff(field, &old, &new)).collect()
}

fn fields(content: &VersionContent) -> [(&'static str, String); 7] {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let variables = content.variables.iter().map(|variable| {
        let fallback = variable.fallback_value.as_ref();
        let fallback = fallback.map(|value| format!(" = {value}")).unwrap_or_default();
        format!("{}: {}{fallback}\n", variable.key, variable.kind)
    });
    [
        ("subject", content.subject.clone()),
        ("from", text(&content.from)),
        ("reply_to", content.reply_to.join("\n")),
        ("mjml", text(&content.mjml)),
        ("html", text(&content.html)),
        ("text", text(&content.text)),
        ("variables", variables.collect()),
    ]
}

fn field_diff(field: &'static str, old: &str, new: &str) -> FieldDiff {
    let diff = TextDiff::configure().timeout(LONGEST_SEARCH).diff_lines(old, new);
    let mut lines = Vec::new();
    for (index, group) in diff.grouped_ops(AROUND).iter().enumerate() {
        let is_after_a_gap = index > 0 || group.first().is_some_and(|op| op.old_range().start > 0);
        if is_after_a_gap {
            lines.push(DiffLine { sign: '…', text: String::new() });
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            let text = change.value().trim_end_matches(['\r', '\n']);
            lines.push(DiffLine { sign, text: shortened(text) });
        }
    }
    let is_cut = lines.len() > MAX_LINES;
    lines.truncate(MAX_LINES);
    FieldDiff { field, lines, is_cut }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_WIDTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(subject: &str, html: &str) -> VersionContent {
        VersionContent { subject: subject.into(), html: Some(html.into()), ..VersionContent::default() }
    }

    #[test]
    fn lines_that_changed_have_signs() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh";
        let found = between(&content("s", old), &content("s", &old.replace('g', "G")));
        assert_eq!(found.len(), 1, "only fields that differ");
        let shown: Vec<String> =
            found[0].lines.iter().map(|line| format!("{}{}", line.sign, line.text)).collect();
        assert_eq!(shown, ["…", " d", " e", " f", "-g", "+G", " h"]);
        assert!(between(&content("s", old), &content("s", old)).is_empty());
    }

    #[test]
    fn a_large_difference_is_cut() {
        let numbered = |end: &str| (0..20_000).map(|n| format!("{n}{end}\n")).collect::<String>();
        let found = between(&content("s", &numbered("a")), &content("s", &numbered("b")));
        assert!(found[0].is_cut && found[0].lines.len() == MAX_LINES);
        let long = "x".repeat(1 << 20);
        let found = between(&content("s", ""), &content("s", &long));
        assert!(found[0].lines.iter().all(|line| line.text.chars().count() <= MAX_WIDTH + 1));
    }
}
