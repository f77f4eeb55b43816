//! Answers to clicks and opens.

use url::Url;

use crate::ReaderAnswer;

/// A transparent GIF of one pixel, 43 octets.
const PIXEL: &[u8; 43] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";

/// Seconds after which a client may try again that was told so.
pub const RETRY_AFTER: u32 = 10;

/// The URL that the destination of a click token names: parsed and percent-encoded, with a host and
/// the scheme http or https. None: a click leads nowhere.
#[must_use]
pub fn destination(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let web = matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty());
    web.then_some(url)
}

/// The answer to a click.
#[must_use]
pub fn redirect(to: &Url) -> ReaderAnswer {
    ReaderAnswer::new(302, &[("location", to.as_str())], Vec::new())
}

/// The answer to an open.
#[must_use]
pub fn pixel() -> ReaderAnswer {
    ReaderAnswer::new(200, &[("content-type", "image/gif")], PIXEL.as_slice())
}

/// One line for people who followed a broken link: the reason of the status (RFC 9110 section 15).
#[must_use]
pub fn words(status: u16, reason: &str) -> ReaderAnswer {
    let text = [("content-type", "text/plain; charset=utf-8")];
    ReaderAnswer::new(status, &text, format!("{}\n", reason.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_web_addresses_are_destinations() {
        for to in ["javascript:alert(1)", "ftp://x.example/", "data:text/html,x", "/a", "http://", "", "//x"]
        {
            assert_eq!(destination(to), None, "{to}");
        }
        let to = destination("https://x.example/a b?q=ü").expect("a web address");
        assert_eq!(redirect(&to).field("location"), Some("https://x.example/a%20b?q=%C3%BC"));
    }

    #[test]
    fn no_answer_is_kept() {
        let to = destination("https://x.example/").expect("a web address");
        for answer in [redirect(&to), pixel(), words(404, "Not Found")] {
            assert_eq!(answer.field("cache-control"), Some("no-store"));
            assert_eq!(answer.field("referrer-policy"), Some("no-referrer"));
            assert_eq!(answer.field("x-robots-tag"), Some("noindex"));
        }
        assert_eq!((words(404, "Not Found").body, pixel().body.len()), (b"not found\n".to_vec(), 43));
    }

    proptest! {
        #[test]
        fn no_destination_adds_a_field(path in "[\\x00-\\x20a-z:/?#\u{80}-\u{ff}\u{2028}]{0,60}") {
            for text in [format!("https://x.example/{path}"), format!("http://{path}"), path] {
                let Some(to) = destination(&text) else { continue };
                let answer = redirect(&to);
                let location = answer.field("location").expect("a field");
                prop_assert!(location.bytes().all(|c| (0x21..0x7f).contains(&c)), "{location:?}");
                prop_assert!(location.starts_with("http"), "{location}");
            }
        }
    }
}
