//! Where something can be put at the end of a document that does not close its body.
//!
//! Browsers drop a tag that the document ends in, and take everything after an open comment,
//! `<style>` or `<title>` for its content: what is put after it would be lost, or would become part
//! of an attribute. So it is put before.

use lol_html::html_content::TextType;
use lol_html::{EndTagHandler, HtmlRewriter, doc_text, element};
use std::cell::Cell;
use std::rc::Rc;

/// Stands where something might be put. Nothing is said about it but whether it is read as a tag
/// there.
const PROBE: &[u8] = b"<relevo-probe>";

/// The end of `text`, or of the last thing in it that is over.
///
/// # Errors
/// The document is too complex for the tokenizer's memory.
pub(super) fn of_document(text: &[u8]) -> Result<usize, String> {
    let end: Rc<Cell<usize>> = Rc::default();
    let settings = super::settings()
        .append_element_content_handler(element!("*", |el| {
            // Tags begin where text and comments are over.
            end.set(end.get().max(el.source_location().bytes().start));
            let end = Rc::clone(&end);
            let handler: EndTagHandler<'static> = Box::new(move |tag| {
                end.set(end.get().max(tag.source_location().bytes().end));
                Ok(())
            });
            if el.can_have_content() { el.on_end_tag(handler) } else { Ok(()) }
        }))
        .append_document_content_handler(doc_text!(|chunk| {
            if chunk.text_type() == TextType::Data {
                end.set(end.get().max(chunk.source_location().bytes().end));
            }
            Ok(())
        }));
    let mut rewriter = HtmlRewriter::new(settings, |_: &[u8]| {});
    let read = rewriter.write(text).and_then(|()| rewriter.write(PROBE)).and_then(|()| rewriter.end());
    read.map_err(|e| e.to_string())?;
    // Text of the probe itself is beyond the end as well.
    Ok(end.get().min(text.len()))
}

#[cfg(test)]
mod tests {
    use super::of_document;

    fn before_end(text: &str) -> &str {
        &text[of_document(text.as_bytes()).expect("simple")..]
    }

    #[test]
    fn a_document_that_is_over_ends_at_its_end() {
        for text in ["", "text", "<p>x</p>\r\n", "<p>x", "<!-- c -->", "a < b", "<style>p {}</style>", "x<"] {
            assert_eq!(before_end(text), "", "{text:?}");
        }
    }

    #[test]
    fn what_is_not_over_is_left_behind() {
        for (whole, open) in [
            ("<p>x ", "<a href=\"http://h/?q=<b>"),
            ("<p>x</p>", "<a hre"),
            ("<p>x</p>", "</di"),
            ("<p>x</p>\r\n", "<!-- <p>more</p> -- >"),
            ("x", "<style>p {} <b>"),
            ("x<p>", "<title>t <b>"),
            ("x", "<script>if (a < b) {}"),
            ("x", "<textarea>y</b>"),
            ("x", "<img src='"),
            ("", "<a href=x"),
        ] {
            let text = format!("{whole}{open}");
            assert_eq!(before_end(&text), open, "{text:?}");
        }
    }
}
