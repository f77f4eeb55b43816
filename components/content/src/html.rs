//! An HTML document, read token by token.

use std::cell::RefCell;
use std::collections::BTreeMap;

use html5ever::Attribute;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};

use relevo_mailkit::text::is_unsafe;

use crate::markup;

/// Octets that the tokenizer takes at once: it copies them.
const CHUNK: usize = 64 << 10;
/// Links that are looked at.
const MAX_LINKS: usize = 2_000;
/// Octets of a link's text and destination that are kept.
const MAX_LINK: usize = 2_000;
/// Octets of text that are kept, to look for placeholders.
const MAX_TEXT: usize = 256 << 10;
/// Elements that are open at once. Deeper ones are not followed.
const MAX_DEPTH: usize = 500;
/// Mistakes of markup that are reported.
const MAX_ERRORS: usize = 20;

/// Elements that have no end tag.
const VOID: [&str; 14] = [
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track",
    "wbr",
];
/// Elements whose end tag, or both tags, may be left out.
const OPTIONAL: [&str; 20] = [
    "p", "li", "dt", "dd", "tr", "td", "th", "thead", "tbody", "tfoot", "option", "optgroup", "rt", "rp",
    "html", "head", "body", "colgroup", "caption", "br",
];

/// Elements that begin or end a line: text on both sides is not one word.
const LINE_BREAKS: [&str; 22] = [
    "p",
    "br",
    "hr",
    "div",
    "td",
    "th",
    "tr",
    "table",
    "li",
    "ul",
    "ol",
    "dt",
    "dd",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "img",
    "center",
    "blockquote",
];

/// A link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) href: String,
    pub(crate) text: String,
    pub(crate) line: u64,
}

/// What is in a document.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) links: Vec<Link>,
    /// Images, without those of one pixel.
    pub(crate) images: usize,
    pub(crate) without_alt: usize,
    /// The line of the first image without alt text.
    pub(crate) first_without_alt: Option<u64>,
    /// The beginning of the visible text.
    pub(crate) text: String,
    /// Visible characters, without white space.
    pub(crate) text_length: usize,
    /// Elements that do not work in mail: how many, and the line of the first.
    pub(crate) unsupported: BTreeMap<String, (usize, u64)>,
    /// A meta element redirects.
    pub(crate) refreshes: bool,
    /// Attributes such as `onclick`.
    pub(crate) event_handlers: usize,
    pub(crate) stylesheets: usize,
    /// Mistakes of markup with their lines.
    pub(crate) errors: Vec<(String, u64)>,
    pub(crate) too_deep: bool,
}

impl Document {
    pub(crate) fn read(html: &str) -> Self {
        let reader = Reader::default();
        let tokenizer = Tokenizer::new(reader, TokenizerOpts::default());
        let input = BufferQueue::default();
        let mut rest = html;
        while !rest.is_empty() {
            let (chunk, behind) = rest.split_at(cut(rest, CHUNK).len());
            input.push_back(StrTendril::from(chunk));
            // The reader stops it nowhere, so that one call reads all of the chunk.
            let _ = tokenizer.feed(&input);
            rest = behind;
        }
        tokenizer.end();
        tokenizer.sink.0.into_inner().finish()
    }
}

#[derive(Default)]
struct Reader(RefCell<DocumentBuilder>);

#[derive(Default)]
struct DocumentBuilder {
    document: Document,
    /// Elements whose end tag must come, with their lines.
    open: Vec<(String, u64)>,
    /// The link whose text is read.
    link: Option<usize>,
    /// The element whose content is no text, such as `style`.
    hidden: Option<String>,
}

impl TokenSink for Reader {
    type Handle = ();

    fn process_token(&self, token: Token, line: u64) -> TokenSinkResult<()> {
        let mut builder = self.0.borrow_mut();
        match token {
            Token::TagToken(tag) if tag.kind == TagKind::StartTag => return builder.start(&tag, line),
            Token::TagToken(tag) => builder.end(&tag.name, line),
            Token::CharacterTokens(text) => builder.text(&text),
            Token::ParseError(error) => builder.parse_error(&error, line),
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

fn attribute<'t>(tag: &'t Tag, name: &str) -> Option<&'t str> {
    let found = tag.attrs.iter().find(|attribute: &&Attribute| &*attribute.name.local == name);
    found.map(|attribute| &*attribute.value)
}

/// Preheaders are padded with characters that are not seen.
fn is_visible(c: char) -> bool {
    !c.is_whitespace() && !is_unsafe(c) && !matches!(c, '\u{ad}' | '\u{34f}')
}

/// At most `max` octets, whole characters.
fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl DocumentBuilder {
    fn start(&mut self, tag: &Tag, line: u64) -> TokenSinkResult<()> {
        let name: &str = &tag.name;
        self.document.event_handlers += tag.attrs.iter().filter(|a| a.name.local.starts_with("on")).count();
        self.separate(name);
        let document = &mut self.document;
        if markup::unsupported(name).is_some() {
            document.unsupported.entry(name.to_owned()).or_insert((0, line)).0 += 1;
        }
        match name {
            "a" | "area" => self.link(tag, line),
            "img" => self.image(tag, line),
            "meta" if attribute(tag, "http-equiv").is_some_and(|v| v.eq_ignore_ascii_case("refresh")) => {
                document.refreshes = true;
            }
            "link"
                if attribute(tag, "rel").is_some_and(|v| v.to_ascii_lowercase().contains("stylesheet")) =>
            {
                document.stylesheets += 1;
            }
            _ => {}
        }
        // `<o:p/>` and the shapes of SVG end themselves.
        let ends_itself = tag.self_closing && (name.contains(':') || self.is_within_foreign());
        if !VOID.contains(&name) && !OPTIONAL.contains(&name) && !ends_itself {
            match self.open.len() < MAX_DEPTH {
                true => self.open.push((name.to_owned(), line)),
                false => self.document.too_deep = true,
            }
        }
        let kind = match name {
            "script" => RawKind::ScriptData,
            "style" | "xmp" | "iframe" | "noembed" | "noframes" => RawKind::Rawtext,
            "title" | "textarea" => RawKind::Rcdata,
            _ => return TokenSinkResult::Continue,
        };
        self.hidden = Some(name.to_owned());
        TokenSinkResult::RawData(kind)
    }

    fn is_within_foreign(&self) -> bool {
        self.open.iter().rev().any(|(name, _)| name == "svg" || name == "math")
    }

    fn link(&mut self, tag: &Tag, line: u64) {
        self.link = None;
        let Some(href) = attribute(tag, "href") else { return };
        if self.document.links.len() < MAX_LINKS {
            self.link = (&*tag.name == "a").then_some(self.document.links.len());
            let href = cut(href.trim(), MAX_LINK).to_owned();
            self.document.links.push(Link { href, text: String::new(), line });
        }
    }

    fn image(&mut self, tag: &Tag, line: u64) {
        let is_dot =
            |name| attribute(tag, name).is_some_and(|v| matches!(v.trim(), "0" | "1" | "0px" | "1px"));
        if is_dot("width") || is_dot("height") {
            return;
        }
        self.document.images += 1;
        if attribute(tag, "alt").is_none() {
            self.document.without_alt += 1;
            self.document.first_without_alt.get_or_insert(line);
        }
    }

    fn end(&mut self, name: &str, line: u64) {
        if self.hidden.as_deref() == Some(name) {
            self.hidden = None;
        }
        if name == "a" {
            self.link = None;
        }
        self.separate(name);
        if OPTIONAL.contains(&name) {
            return;
        }
        if VOID.contains(&name) {
            return self.error(format!("<{name}> has no end tag: remove </{name}>."), line);
        }
        match self.open.iter().rposition(|(open, _)| open == name) {
            Some(at) => {
                let unclosed: Vec<_> = self.open.drain(at..).skip(1).collect();
                unclosed.into_iter().for_each(|(open, line)| self.unclosed(&open, line));
            }
            // Deeper elements were not followed.
            None if self.document.too_deep => {}
            None => self.error(format!("</{name}> closes nothing: remove it."), line),
        }
    }

    fn text(&mut self, text: &str) {
        if self.hidden.is_some() {
            return;
        }
        self.document.text_length += text.chars().filter(|c| is_visible(*c)).count();
        self.append(text);
    }

    /// Puts a space between what elements keep apart.
    fn separate(&mut self, name: &str) {
        if LINE_BREAKS.contains(&name) {
            self.append(" ");
        }
    }

    fn append(&mut self, text: &str) {
        let room = MAX_TEXT - self.document.text.len();
        self.document.text.push_str(cut(text, room));
        if let Some(link) = self.link.and_then(|at| self.document.links.get_mut(at)) {
            let room = MAX_LINK.saturating_sub(link.text.len());
            link.text.push_str(cut(text, room));
        }
    }

    /// Most errors of the tokenizer are of no account in mail, such as `&` in a URL.
    fn parse_error(&mut self, error: &str, line: u64) {
        if error == "Duplicate attribute" {
            let message = "An attribute stands twice in one tag, and only the first counts: merge them.";
            self.error(message.to_owned(), line);
        } else if error.contains("EOF in state") {
            let message =
                "The document ends within a tag or a comment: close its quotation mark and the tag.";
            self.error(message.to_owned(), line);
        }
    }

    fn unclosed(&mut self, name: &str, line: u64) {
        self.error(format!("<{name}> is not closed: add </{name}>."), line);
    }

    fn error(&mut self, message: String, line: u64) {
        if self.document.errors.len() < MAX_ERRORS {
            self.document.errors.push((message, line));
        }
    }

    fn finish(mut self) -> Document {
        let open = std::mem::take(&mut self.open);
        open.into_iter().for_each(|(name, line)| self.unclosed(&name, line));
        self.document
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn errors(html: &str) -> Vec<String> {
        Document::read(html).errors.into_iter().map(|(message, line)| format!("{line} {message}")).collect()
    }

    #[test]
    fn tags_that_do_not_fit_are_told() {
        assert_eq!(errors("<div>\n<b>x</div>"), ["2 <b> is not closed: add </b>."]);
        assert_eq!(
            errors("<div>\n<table><tr><td>x<tr><td>y</table>"),
            ["1 <div> is not closed: add </div>."]
        );
        assert_eq!(errors("x</span>"), ["1 </span> closes nothing: remove it."]);
        assert_eq!(errors("<br></img>"), ["1 <img> has no end tag: remove </img>."]);
        assert_eq!(errors("<p>a<p>b<ul><li>c<li>d</ul><img src=x><br/>"), [] as [&str; 0]);
        assert_eq!(errors("<style>a{b}</style><!--[if mso]><b><![endif]--><o:p/>"), [] as [&str; 0]);
        assert_eq!(errors("<svg><path d='x'/></svg><title>a <b> c</title>"), [] as [&str; 0]);
    }

    #[test]
    fn tags_that_are_not_whole_are_told() {
        for html in ["<a href='https://a.test>x</a> y", "<p>x</p><!-- y", "x <b"] {
            let errors = errors(html);
            assert!(errors.iter().any(|error| error.contains("ends within")), "{html}: {errors:?}");
        }
        let twice = errors("<br style='a'\nstyle='b'>");
        assert_eq!(twice.len(), 1);
        assert!(twice[0].starts_with("2 An attribute stands twice"), "{twice:?}");
        assert_eq!(errors("<a href='/?a=1&copy=2&x'>&nbsp &bogus;</a><![endif]-->"), [] as [&str; 0]);
    }

    #[test]
    fn chunks_are_read_as_one() {
        let html = format!("{}<a href=\"https://a.test/\u{e9}\">b</a>", "\u{e9}".repeat(CHUNK / 2 - 5));
        let document = Document::read(&html);
        assert_eq!(document.links[0].href, "https://a.test/\u{e9}");
        assert_eq!((document.text_length, document.errors.len()), (CHUNK / 2 - 4, 0));
    }

    #[test]
    fn links_have_their_text() {
        let html = "<a href=' https://a.test/ '>one <b>two</b></a> <a>no</a><map><area href=x></map>";
        let links = Document::read(html).links;
        assert_eq!(Document::read("<a href=x>https://a.test<br>b</a>").links[0].text, "https://a.test b");
        assert_eq!(links[0], Link { href: "https://a.test/".into(), text: "one two".into(), line: 1 });
        assert_eq!(links[1].href, "x");
        assert_eq!(links.len(), 2);
    }

    #[test]
    fn hidden_text_and_pixels_do_not_count() {
        let document =
            Document::read("<style>abc</style><title>def</title><img width=1 src=x>x y<script>z</script>");
        assert_eq!((document.text_length, document.text.as_str(), document.images), (2, " x y", 0));
        assert_eq!(Document::read("\u{200c}\u{a0}\u{34f}&zwnj;&shy;&nbsp;").text_length, 0);
        assert_eq!(document.unsupported.keys().collect::<Vec<_>>(), ["script"]);
    }

    #[test]
    fn depth_is_bounded() {
        let document = Document::read(&format!("{}x", "<div>".repeat(100_000)));
        assert!(document.too_deep && document.errors.len() == MAX_ERRORS);
    }

    proptest! {
        #[test]
        fn any_document_is_read(html in "([<>/a-z =\"'&;!-]|<a href=|</a>|<script>|<!--|<div>|\u{e9}|\\PC){0,60}") {
            let document = Document::read(&html);
            prop_assert!(document.text_length <= html.len() * 3 && document.links.len() <= html.len());
        }
    }
}
