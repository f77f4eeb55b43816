//! MJML to HTML. Includes are never loaded.

use std::borrow::Cow;

use mrml::prelude::parser::{Error, ParserOptions};
use mrml::prelude::render::RenderOptions;
use relevo_mailkit::model::{TemplateError, TemplateLimits};

use crate::failure::{MJML, TOO_DEEP, TOO_LONG, at, failure};
use crate::{conditions, tags};

/// Deeper documents are refused whatever the limits say: the parser recurses.
const MAX_DEPTH: u32 = 48;

/// Renders a document that MiniJinja has filled in. Places in errors are places in that document.
pub(crate) fn to_html(source: &str, limits: &TemplateLimits) -> Result<String, TemplateError> {
    let depth = limits.max_depth.min(MAX_DEPTH);
    if let Some(offset) = tags::strictly_deeper_than(source, depth) {
        return Err(at(failure(TOO_DEEP, "mjml", format!("nested deeper than {depth}")), source, offset));
    }
    let safe = without_split_characters(source);
    if let Some(offset) = conditions::malformed(&safe) {
        let error = failure(MJML, "mjml", "a conditional comment is neither `[if ...]>` nor `[endif]-->`");
        return Err(at(error, &safe, offset));
    }
    // No document is known that still panics. In the sandbox it would be a trap, which the host
    // reports; here it is an error like any other.
    let parsed = std::panic::catch_unwind(|| mrml::parse_with_options(&*safe, &ParserOptions::default()))
        .map_err(|_| failure(MJML, "mjml", "the document is too broken to be read"))?
        .map_err(|e| parse_error(&safe, &e))?;
    let options = RenderOptions { disable_comments: true, ..RenderOptions::default() };
    let html = parsed.element.render(&options).map_err(|e| failure(MJML, "mjml", e.to_string()))?;
    if html.len() as u64 > limits.max_output {
        return Err(failure(TOO_LONG, "mjml", format!("more than {} octets of HTML", limits.max_output)));
    }
    Ok(html)
}

/// The tokenizer beneath mrml looks two octets back from the first `>` of a text and panics when
/// that is within a character, as in `Café > Thé`. Such a `>` becomes `&gt;`, which means the same;
/// those that end a tag, comment or CDATA stay.
fn without_split_characters(source: &str) -> Cow<'_, str> {
    let splits = |at: usize| !source.is_char_boundary(at.saturating_sub(2));
    if !source.match_indices('>').any(|(at, _)| splits(at)) {
        return Cow::Borrowed(source);
    }
    let mut out = String::with_capacity(source.len() + 16);
    let mut rest = 0;
    while let Some(open) = source[rest..].find('<').map(|n| rest + n) {
        escape_text(&source[rest..open], rest, &splits, &mut out);
        let end = ["<!--", "<![CDATA["]
            .iter()
            .zip(["-->", "]]>"])
            .find(|(start, _)| source[open..].starts_with(**start));
        let end = end.map_or(">", |(_, end)| end);
        rest = source[open..].find(end).map_or(source.len(), |n| open + n + end.len());
        out.push_str(&source[open..rest]);
    }
    escape_text(&source[rest..], rest, &splits, &mut out);
    Cow::Owned(out)
}

fn escape_text(text: &str, offset: usize, splits: &dyn Fn(usize) -> bool, out: &mut String) {
    for (at, c) in text.char_indices() {
        if c == '>' && splits(offset + at) { out.push_str("&gt;") } else { out.push(c) }
    }
}

fn parse_error(source: &str, error: &Error) -> TemplateError {
    let found = failure(MJML, "mjml", error.to_string());
    match error {
        Error::UnexpectedElement { position, .. }
        | Error::UnexpectedToken { position, .. }
        | Error::MissingAttribute { position, .. }
        | Error::InvalidAttribute { position, .. }
        | Error::InvalidFormat { position, .. }
        | Error::IncludeLoaderError { position, .. } => at(found, source, position.start),
        _ => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tokenizer panicked on these.
    #[test]
    fn text_beyond_ascii_before_a_greater_than_sign() {
        for text in ["Café > Thé", "€>", "é >>", "seté/>>*set+", "日本 > 東京 <b>é</b> >"] {
            let source = format!(
                "<mjml><mj-body><mj-section><mj-column><mj-text>{text}</mj-text></mj-column></mj-section></mj-body></mjml>"
            );
            let limits = TemplateLimits { max_output: 1 << 20, max_steps: 1000, max_depth: 32 };
            let html = to_html(&source, &limits).unwrap();
            assert!(html.contains(&text.chars().take(1).collect::<String>()), "{html}");
        }
        assert_eq!(
            without_split_characters("<a é=\"1\">é ></a><!-- é > -->"),
            "<a é=\"1\">é &gt;</a><!-- é > -->"
        );
    }

    #[test]
    fn a_broken_conditional_comment_is_an_error_with_its_place() {
        let limits = TemplateLimits { max_output: 100_000, max_steps: 1_000, max_depth: 20 };
        let text = |text: &str| {
            format!(
                "<mjml><mj-body><mj-section><mj-column><mj-text>\n{text}</mj-text></mj-column></mj-section></mj-body></mjml>"
            )
        };
        for broken in ["<!--[if mso]x", "<![endif x", "<!--[if mso", "<![if x]"] {
            let error = to_html(&text(broken), &limits).unwrap_err();
            assert_eq!(
                (error.kind.as_str(), error.line, error.column),
                ("mjml", Some(2), Some(1)),
                "{broken}"
            );
            assert!(error.message.contains("conditional comment"), "{}", error.message);
        }
        assert!(to_html(&text("<!--[if mso]><b>x</b><![endif]-->"), &limits).is_ok());
    }

    proptest::proptest! {
        /// Nothing that is let through makes the tokenizer panic.
        #[test]
        fn no_document_is_too_broken_to_be_read(pieces in proptest::collection::vec(
            proptest::sample::select(vec![
                "<!--", "-->", "[if", "]", ">", "<", "<!", "<![if", "<![endif", "<![endif]", "<!--<![endif", "<!--[if mso",
                "<![CDATA[", "]]>", "<?", "?>", "<?xml ", "<p>", "</p>", "<mj-text", "</", "/>", "x", "é", "€", "\"", "'", "=",
                ":", " ", "&#", ";", "\u{1}", "<!DOCTYPE", "<!ENTITY", "\n",
            ]),
            0..12,
        )) {
            let text = pieces.concat();
            let limits = TemplateLimits { max_output: 100_000, max_steps: 1_000, max_depth: 20 };
            let inside = format!("<mjml><mj-body><mj-section><mj-column><mj-text>{text}</mj-text></mj-column></mj-section></mj-body></mjml>");
            for source in [inside, text] {
                if let Err(error) = to_html(&source, &limits) {
                    proptest::prop_assert!(!error.message.contains("too broken"), "{}", source);
                }
            }
        }
    }

    #[test]
    fn includes_are_refused() {
        let limits = TemplateLimits { max_output: 100_000, max_steps: 1_000, max_depth: 20 };
        let source = "<mjml><mj-body>\n<mj-include path=\"/etc/passwd\" /></mj-body></mjml>";
        let error = to_html(source, &limits).unwrap_err();
        assert_eq!((error.kind.as_str(), error.line), ("mjml", Some(2)));
    }
}
