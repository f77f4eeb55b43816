//! Unsubscribing: the placeholder of the URL, and the header fields of RFC 2369 and RFC 8058.

/// The URL that stands for the recipient's unsubscribe URL in the content of a message. It leads
/// nowhere (RFC 2606 section 2): a message in which it was not replaced does no harm.
pub const PLACEHOLDER: &str = "https://unsubscribe.invalid/";

/// The host of [`PLACEHOLDER`].
pub const PLACEHOLDER_HOST: &str = "unsubscribe.invalid";

/// Octets of a topic.
pub const MAX_TOPIC: usize = 128;

/// `List-Unsubscribe` and `List-Unsubscribe-Post` for a URL, and for a mailbox if one is given.
///
/// The mailbox is told who and what by the subject, which is the token of the URL.
#[must_use]
pub fn header_fields(url: &str, mailbox: Option<&str>) -> Vec<u8> {
    let mut fields = format!("List-Unsubscribe: <{url}>");
    if let Some(mailbox) = mailbox {
        let token = url.rsplit('/').next().unwrap_or_default();
        fields.push_str(",\r\n <mailto:");
        fields.push_str(mailbox);
        fields.push_str("?subject=");
        fields.push_str(token);
        fields.push('>');
    }
    // RFC 8058 section 3.1: exactly this value.
    fields.push_str("\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n");
    fields.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_name_the_url_and_the_mailbox() {
        let url = "https://t.example/u/abc";
        let post = "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n";
        let expected = format!("List-Unsubscribe: <{url}>\r\n{post}");
        assert_eq!(header_fields(url, None), expected.as_bytes());
        let mailto = "<mailto:leave@example.com?subject=abc>";
        let expected = format!("List-Unsubscribe: <{url}>,\r\n {mailto}\r\n{post}");
        assert_eq!(header_fields(url, Some("leave@example.com")), expected.as_bytes());
        crate::recheck::header_fields(expected.as_bytes()).unwrap();
    }

    #[test]
    fn the_placeholder_is_that_host() {
        assert_eq!(PLACEHOLDER, format!("https://{PLACEHOLDER_HOST}/"));
    }
}
