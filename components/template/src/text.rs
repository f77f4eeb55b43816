//! The text alternative of an HTML part.

use std::rc::Rc;

use html2text::RcDom;
use html2text::config;
use relevo_mailkit::model::TemplateError;

use crate::failure::{SYNTAX, TOO_DEEP, at, failure};
use crate::tags;

/// Columns of the text.
const WIDTH: usize = 76;

/// The text of a document or fragment: links as footnotes, lists with marks, tables row by row.
///
/// # Errors
/// Elements nest deeper than `max_depth`.
pub(crate) fn from_html(html: &str, template: &str, max_depth: u32) -> Result<String, TemplateError> {
    let config = config::plain()
        .no_table_borders()
        .raw_mode(false)
        .allow_width_overflow()
        .no_link_wrapping()
        .link_footnotes(true);
    let failed =
        |e: html2text::Error| failure(SYNTAX, template, format!("no text can be made from the HTML: {e}"));
    check_roughly(html, template, max_depth)?;
    let dom = config.parse_html(html.as_bytes()).map_err(failed)?;
    check_depth(&dom, template, max_depth)?;
    let tree = config.dom_to_render_tree(&dom).map_err(failed)?;
    let text = config.render_to_string(tree, WIDTH).map_err(failed)?;
    Ok(tidy(&text))
}

/// Only the nesting of `html` is checked.
///
/// # Errors
/// Elements nest deeper than `max_depth`.
pub(crate) fn check(html: &str, template: &str, max_depth: u32) -> Result<(), TemplateError> {
    check_roughly(html, template, max_depth)?;
    let dom =
        config::plain().parse_html(html.as_bytes()).map_err(|e| failure(SYNTAX, template, e.to_string()))?;
    check_depth(&dom, template, max_depth)
}

/// Before a tree is built, which takes time that grows with the square of the depth.
fn check_roughly(html: &str, template: &str, max_depth: u32) -> Result<(), TemplateError> {
    match tags::loosely_deeper_than(html, max_depth.saturating_mul(2).saturating_add(64)) {
        Some(offset) => Err(at(too_deep(template, max_depth), html, offset)),
        None => Ok(()),
    }
}

fn too_deep(template: &str, max_depth: u32) -> TemplateError {
    failure(TOO_DEEP, template, format!("elements nested deeper than {max_depth}"))
}

/// The tree as a browser would build it, walked without recursion.
fn check_depth(dom: &RcDom, template: &str, max_depth: u32) -> Result<(), TemplateError> {
    let mut nodes = vec![(Rc::clone(&dom.document), 0_u32)];
    while let Some((node, depth)) = nodes.pop() {
        if depth > max_depth {
            return Err(too_deep(template, max_depth));
        }
        nodes.extend(node.children.borrow().iter().map(|child| (Rc::clone(child), depth + 1)));
    }
    Ok(())
}

/// No blanks at the ends of lines, no more than one empty line in a row, none at either end.
fn tidy(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut empty = 0;
    for line in text.lines().map(str::trim_end) {
        if line.is_empty() {
            empty += 1;
            continue;
        }
        if !out.is_empty() {
            out.push_str(if empty > 0 { "\n\n" } else { "\n" });
        }
        empty = 0;
        out.push_str(line);
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legible() {
        let html = "<h1>Hi</h1><p>See <a href='https://a.example/x?y=1&amp;z'>this</a>.</p><ul><li>one<li>two</ul>\
            <table><tr><td>a</td><td>b</td></tr><tr><td>c</td><td>d</td></tr></table><style>p{}</style><script>x</script>";
        let text = from_html(html, "html", 30).unwrap();
        for wanted in ["Hi", "[this][1]", "https://a.example/x?y=1&z", "* one", "* two"] {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
        assert!(!text.contains("p{}") && !text.contains("script"), "{text}");
    }

    #[test]
    fn deep_documents_are_refused_without_recursion() {
        let html = "<div>".repeat(100_000);
        assert_eq!(from_html(&html, "html", 100).unwrap_err().kind, "too-deep");
        assert_eq!(check(&html, "html", 100).unwrap_err().kind, "too-deep");
    }
}
