//! Replies on the wire.

use std::fmt::Write as _;

use relevo_mailkit::reply::Reply;

/// Text octets of a reply line, so that the line stays under 512 octets (RFC 5321 section
/// 4.5.3.1.5).
const MAX_TEXT: usize = 480;
/// The same of a challenge of AUTH (RFC 4954 section 4).
const MAX_CHALLENGE: usize = 12280;

/// Appends the reply as it goes over the wire, one line for each line of its text. Octets that may
/// not stand in a reply become `?`, over-long lines are cut: whatever a caller put into the text,
/// it stays one reply.
pub fn encode(reply: &Reply, out: &mut Vec<u8>) {
    let mut lines = reply.text.split('\n').peekable();
    let mut prefix = String::new();
    let max = if reply.code == 334 { MAX_CHALLENGE } else { MAX_TEXT };
    while let Some(line) = lines.next() {
        prefix.clear();
        // Writing to a String cannot fail.
        let _ = write!(prefix, "{:03}{}", reply.code, if lines.peek().is_none() { ' ' } else { '-' });
        if let Some(enhanced) = reply.enhanced {
            let _ = write!(prefix, "{enhanced} ");
        }
        out.extend_from_slice(prefix.as_bytes());
        out.extend(line.bytes().take(max).map(|b| if (0x20..0x7f).contains(&b) { b } else { b'?' }));
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(reply: &Reply) -> String {
        let mut out = Vec::new();
        encode(reply, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn one_and_several_lines() {
        assert_eq!(wire(&Reply::new(250, (2, 1, 0), "OK")), "250 2.1.0 OK\r\n");
        assert_eq!(wire(&Reply::of_lines(250, &["a".into(), "SIZE 10".into()])), "250-a\r\n250 SIZE 10\r\n");
        assert_eq!(wire(&Reply::of_lines(220, &[])), "220 \r\n");
        assert_eq!(wire(&Reply::new(550, (5, 7, 509), "a\nb")), "550-5.7.509 a\r\n550 5.7.509 b\r\n");
    }

    #[test]
    fn text_cannot_add_a_reply() {
        let forged = "x\r250 ok\0é\n250 ok";
        assert_eq!(
            wire(&Reply::new(550, (5, 1, 1), forged)),
            "550-5.1.1 x?250 ok???\r\n550 5.1.1 250 ok\r\n"
        );
        assert!(wire(&Reply::new(550, (5, 1, 1), "y".repeat(9000))).len() <= 512);
    }
}
