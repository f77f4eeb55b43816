//! What a server says that it can do (RFC 5321 section 4.1.1.1).

use super::types::RemoteReply;

/// The keywords of EHLO that matter for delivery. All off after HELO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Abilities {
    /// 8BITMIME (RFC 6152).
    pub eight_bit: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// SIZE (RFC 1870); the largest message, `None` inside when no limit is named.
    pub size: Option<Option<u64>>,
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// AUTH PLAIN (RFC 4616).
    pub auth_plain: bool,
    /// AUTH LOGIN.
    pub auth_login: bool,
}

impl Abilities {
    /// Reads the reply to EHLO; the first line is the server's name.
    #[must_use]
    pub fn parse(reply: &RemoteReply) -> Self {
        let mut abilities = Self::default();
        for line in reply.text.lines().skip(1) {
            let mut words = line.split([' ', '\t', '=']).filter(|w| !w.is_empty());
            let Some(keyword) = words.next() else { continue };
            match keyword.to_ascii_uppercase().as_str() {
                "8BITMIME" => abilities.eight_bit = true,
                "SMTPUTF8" => abilities.smtputf8 = true,
                "PIPELINING" => abilities.pipelining = true,
                "STARTTLS" => abilities.starttls = true,
                // 0: no limit.
                "SIZE" => abilities.size = Some(words.next().and_then(|n| n.parse().ok()).filter(|&n| n > 0)),
                "AUTH" => {
                    for mechanism in words {
                        abilities.auth_plain |= mechanism.eq_ignore_ascii_case("PLAIN");
                        abilities.auth_login |= mechanism.eq_ignore_ascii_case("LOGIN");
                    }
                }
                _ => {}
            }
        }
        abilities
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords() {
        let text =
            "PIPELINING\nsize 1000\n8BITMIME\nSMTPUTF8\nSTARTTLS\nAUTH=LOGIN\nAUTH PLAIN CRAM-MD5\n\nX-ODD";
        let reply = RemoteReply { code: 250, enhanced: None, text: format!("PIPELINING.example\n{text}") };
        let all = Abilities {
            eight_bit: true,
            smtputf8: true,
            size: Some(Some(1000)),
            pipelining: true,
            starttls: true,
            auth_plain: true,
            auth_login: true,
        };
        assert_eq!(Abilities::parse(&reply), all);
        let text = "PIPELINING\nSIZE 0".to_owned();
        let bare = Abilities::parse(&RemoteReply { text, ..reply });
        assert_eq!(bare, Abilities { size: Some(None), ..Abilities::default() });
    }
}
