//! What is read of a message.

use super::*;
use crate::MAX_MESSAGE;

const MESSAGE: &str = "From: =?UTF-8?Q?J=C3=B6rg?= <j@example.com>\r\n\
    To: b@example.net\r\n\
    Subject: =?UTF-8?Q?Gr=C3=BC=C3=9Fe?=\r\n aus =?UTF-8?B?V2llbg==?=\r\n\
    MIME-Version: 1.0\r\n\
    X-Order: 17\r\n\
    Content-Type: multipart/mixed; boundary=m\r\n\r\n\
    --m\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n\
    --a\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nSch=F6n\r\n\
    --a\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Sch\u{f6}n</p>\r\n--a--\r\n\
    --m\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Disposition: attachment; filename=\"bill.pdf\"\r\n\
    Content-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n\
    --m\r\nContent-Type: image/png\r\nContent-ID: <logo@x>\r\nContent-Disposition: inline\r\n\
    Content-Transfer-Encoding: base64\r\n\r\nAAECAw==\r\n--m--\r\n";

fn reader(message: &str) -> Reader {
    let mut reader = Reader::default();
    message.as_bytes().chunks(100).for_each(|chunk| reader.push(chunk));
    reader
}

fn parts(message: &str) -> MessageParts {
    reader(message).parts().expect("parts")
}

#[test]
fn a_message_is_taken_apart() {
    let parts = parts(MESSAGE);
    let field = |name: &str| {
        let found = parts.fields.iter().find(|field| field.name == name);
        found.map(|field| field.value.as_str())
    };
    assert_eq!(field("From"), Some("J\u{f6}rg <j@example.com>"));
    assert_eq!(field("Subject"), Some("Gr\u{fc}\u{df}e aus Wien"));
    assert_eq!((field("X-Order"), parts.fields.len()), (Some("17"), 6));
    assert_eq!(parts.text.expect("text").text.trim_end(), "Sch\u{f6}n");
    assert_eq!(parts.html.expect("html").text.trim_end(), "<p>Sch\u{f6}n</p>");
    let [pdf, logo] = parts.attachments.as_slice() else { panic!("{:?}", parts.attachments) };
    assert_eq!((pdf.filename.as_deref(), pdf.content_type.as_str()), (Some("bill.pdf"), "application/pdf"));
    assert_eq!((pdf.size, pdf.inline, pdf.content_id.as_deref()), (5, false, None));
    assert_eq!((logo.inline, logo.content_id.as_deref(), logo.size), (true, Some("logo@x"), 4));
    assert!(!parts.truncated);
}

#[test]
fn an_attachment_is_decoded() {
    assert_eq!(reader(MESSAGE).attachment(0), Ok(Some(b"hello".to_vec())));
    assert_eq!(reader(MESSAGE).attachment(1), Ok(Some(vec![0, 1, 2, 3])));
    assert_eq!(reader(MESSAGE).attachment(2), Ok(None));
}

#[test]
fn what_is_missing_is_absent() {
    let parts = parts("Subject: x\r\nContent-Type: text/html\r\n\r\n<p>x</p>\r\n");
    assert_eq!((parts.text, parts.html.expect("html").text.trim_end()), (None, "<p>x</p>"));
    assert!(parts.attachments.is_empty());
}

#[test]
fn long_text_is_cut_and_says_so() {
    let parts = parts(&format!("Subject: x\r\n\r\n{}", "\u{f6}".repeat(MAX_TEXT)));
    let text = parts.text.expect("text");
    assert!(text.truncated && text.text.len() <= MAX_TEXT, "{}", text.text.len());
}

#[test]
fn a_large_message_is_none() {
    let mut reader = Reader::default();
    (0..=MAX_MESSAGE >> 16).for_each(|_| reader.push(&[b'x'; 1 << 16]));
    assert!(reader.parts().expect_err("too large").contains("octets"));
}
