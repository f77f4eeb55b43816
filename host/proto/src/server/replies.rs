//! Every reply that the protocol itself gives. The product's replies come through the session's
//! decisions.

use crate::{EnhancedCode, Reply};

/// A reply known at compile time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fixed {
    /// Three digits.
    pub code: u16,
    /// RFC 3463.
    pub enhanced: Option<EnhancedCode>,
    /// One line.
    pub text: &'static str,
}

impl From<Fixed> for Reply {
    fn from(fixed: Fixed) -> Self {
        Self { code: fixed.code, enhanced: fixed.enhanced, text: fixed.text.to_owned() }
    }
}

const fn fixed(code: u16, (class, subject, detail): (u8, u16, u16), text: &'static str) -> Fixed {
    Fixed { code, enhanced: Some(EnhancedCode::new(class, subject, detail)), text }
}

macro_rules! replies {
    ($($(#[$doc:meta])* $name:ident = $code:literal $enhanced:tt $text:literal;)*) => {
        $($(#[$doc])* pub const $name: Fixed = fixed($code, $enhanced, $text);)*
        /// All of them, for tests.
        #[cfg(test)]
        const ALL: &[Fixed] = &[$($name),*];
    };
}

replies! {
    /// RFC 5321 section 4.1.1.10.
    BYE = 221 (2, 0, 0) "Bye";
    /// RFC 3207 section 4.
    READY_FOR_TLS = 220 (2, 0, 0) "Ready to start TLS";
    /// RFC 4954 section 6.
    AUTHENTICATED = 235 (2, 7, 0) "Authentication succeeded";
    /// RFC 5321 section 4.1.1.2.
    SENDER_OK = 250 (2, 1, 0) "Sender OK";
    /// RFC 5321 section 4.1.1.3.
    RECIPIENT_OK = 250 (2, 1, 5) "Recipient OK";
    /// RFC 5321 sections 4.1.1.5 and 4.1.1.9.
    OK = 250 (2, 0, 0) "OK";
    /// RFC 5321 section 3.5.3: we neither confirm nor deny.
    VRFY = 252 (2, 5, 0) "Send some mail, I'll try my best";
    /// RFC 5321 section 4.1.1.8.
    HELP = 214 (2, 0, 0) "See RFC 5321";

    /// RFC 5321 section 3.8: the server is going away.
    SHUTTING_DOWN = 421 (4, 3, 2) "Service shutting down, try again later";
    /// RFC 5321 section 4.5.3.2.7.
    TIMEOUT = 421 (4, 4, 2) "Timeout, closing connection";
    /// RFC 5321 section 4.3.2: 421 may answer any command.
    TOO_MANY_ERRORS = 421 (4, 7, 0) "Too many errors, closing connection";
    /// RFC 5321 section 4.3.2.
    TOO_MANY_COMMANDS = 421 (4, 7, 0) "Too many commands without mail, closing connection";
    /// RFC 5321 section 4.3.2: total or per peer.
    TOO_MANY_CONNECTIONS = 421 (4, 7, 0) "Too many connections, try again later";
    /// RFC 5321 section 4.3.2: a message in very many small chunks is a flood.
    TOO_MANY_CHUNKS = 421 (4, 7, 0) "Too many small chunks, closing connection";
    /// RFC 9422: MAILMAX.
    TOO_MANY_MESSAGES = 421 (4, 7, 0) "Too many messages in one session, connect again";
    /// RFC 9422 (RCPTMAX) and RFC 5321 section 4.5.3.1.10.
    TOO_MANY_RECIPIENTS = 452 (4, 5, 3) "Too many recipients";
    /// RFC 5321 section 4.3.2: something broke on our side.
    INTERNAL_ERROR = 421 (4, 3, 0) "Internal error, closing connection";
    /// RFC 3207 section 4.
    TLS_UNAVAILABLE = 454 (4, 7, 0) "TLS not available";
    /// RFC 4954 section 6.
    AUTH_BUSY = 454 (4, 7, 0) "Too many failed attempts, try again later";

    /// RFC 5321 section 4.2.4.
    UNKNOWN_COMMAND = 500 (5, 5, 1) "Command not recognised";
    /// RFC 5321 section 4.5.3.1.4.
    LINE_TOO_LONG = 500 (5, 5, 2) "Line too long";
    /// RFC 4954 section 4: the response is longer than any that we accept.
    AUTH_LINE_TOO_LONG = 500 (5, 5, 6) "Authentication exchange line is too long";
    /// RFC 5321 section 2.3.8: lines end in CRLF and nothing else.
    BARE_LINE_END = 500 (5, 5, 2) "Lines must end in CR LF";
    /// RFC 5321 section 2.4: commands are text.
    BAD_OCTET = 500 (5, 5, 2) "Control character or invalid UTF-8 in command";
    /// RFC 5321 section 4.2.4.
    SYNTAX = 501 (5, 5, 4) "Syntax error in parameters";
    /// RFC 5321 section 4.1.1: commands without parameters.
    NO_PARAMETERS = 501 (5, 5, 4) "This command takes no parameters";
    /// RFC 5321 section 4.1.1.1.
    BAD_HELO = 501 (5, 5, 4) "A domain name or address literal is required";
    /// RFC 5321 section 4.1.2, with the status of RFC 3463 for senders.
    BAD_SENDER = 501 (5, 1, 7) "Bad sender address syntax";
    /// RFC 5321 section 4.1.2, with the status of RFC 3463 for recipients.
    BAD_RECIPIENT = 501 (5, 1, 3) "Bad recipient address syntax";
    /// RFC 5321 section 4.1.1.11: a parameter with a bad value, or given twice.
    BAD_PARAMETER = 501 (5, 5, 4) "Invalid or repeated parameter";
    /// RFC 4865: more than was announced.
    HOLD_TOO_LONG = 501 (5, 5, 4) "Message cannot be held for so long";
    /// RFC 2852: less than was announced.
    BY_TOO_SHORT = 501 (5, 5, 4) "Deliver-by time is below the announced minimum";
    /// RFC 2852 and RFC 4865: it would be returned before it is released.
    BY_BEFORE_HOLD = 501 (5, 5, 4) "Deliver-by time ends before the message is released";
    /// RFC 3030 section 2. The length of what follows is unknown.
    BAD_CHUNK = 501 (5, 5, 4) "Syntax is BDAT size [LAST]";
    /// RFC 4954 section 4: not base64, or not what the mechanism says.
    BAD_AUTH_RESPONSE = 501 (5, 5, 2) "Cannot decode authentication response";
    /// RFC 4954 section 4: the client sent `*`.
    AUTH_CANCELLED = 501 (5, 7, 0) "Authentication cancelled";
    /// RFC 5321 section 7.3: expansion tells strangers who is on a list.
    EXPN = 502 (5, 5, 1) "Members of mailing lists are not shown";
    /// RFC 1985: nothing is kept here for other hosts to collect.
    ETRN = 502 (5, 5, 1) "ETRN is not offered, no mail is kept for collection";
    /// RFC 5321 appendix F.1: TURN gives mail to whoever asks.
    TURN = 502 (5, 5, 1) "TURN is not offered, it is insecure";
    /// RFC 5321 section 4.2.4.
    NOT_IMPLEMENTED = 502 (5, 5, 1) "Command not implemented";
    /// RFC 5321 section 4.1.4.
    HELLO_FIRST = 503 (5, 5, 1) "Send EHLO or HELO first";
    /// STARTTLS and AUTH are extensions.
    EHLO_FIRST = 503 (5, 5, 1) "Send EHLO first";
    /// RFC 5321 section 4.1.1.2.
    NESTED_MAIL = 503 (5, 5, 1) "Sender already given";
    /// RFC 5321 section 4.1.1.3.
    MAIL_FIRST = 503 (5, 5, 1) "Send MAIL first";
    /// RFC 5321 section 4.1.1.4.
    RCPT_FIRST = 503 (5, 5, 1) "Send RCPT first";
    /// RFC 3030 section 2: recipients come before the first chunk.
    RCPT_AFTER_BDAT = 503 (5, 5, 1) "Recipients come before BDAT";
    /// RFC 3030 section 2: DATA and BDAT cannot be used in the same transaction.
    DATA_AFTER_BDAT = 503 (5, 5, 1) "DATA cannot follow BDAT, transaction reset";
    /// RFC 3030 section 3: only BDAT carries binary content.
    DATA_FOR_BINARY = 503 (5, 5, 1) "BODY=BINARYMIME needs BDAT, transaction reset";
    /// RFC 3030 section 2: the chunk was on its way when one before it failed.
    CHUNK_AFTER_FAILURE = 503 (5, 5, 1) "Chunk discarded, the transaction has failed";
    /// RFC 4954 section 4.
    ALREADY_AUTHENTICATED = 503 (5, 5, 1) "Already authenticated";
    /// RFC 4954 section 4: not during a mail transaction.
    NOT_DURING_MAIL = 503 (5, 5, 1) "Not during a mail transaction";
    /// RFC 3207 section 4.2.
    ALREADY_TLS = 503 (5, 5, 1) "TLS is already active";
    /// RFC 4954 section 4.
    UNKNOWN_MECHANISM = 504 (5, 5, 4) "Authentication mechanism not supported";
    /// RFC 4954 section 6 and RFC 6409 section 4.3.
    AUTH_REQUIRED = 530 (5, 7, 0) "Authentication required";
    /// RFC 3207 section 4.
    TLS_REQUIRED = 530 (5, 7, 0) "Must issue a STARTTLS command first";
    /// RFC 4954 section 6.
    BAD_CREDENTIALS = 535 (5, 7, 8) "Authentication credentials invalid";
    /// RFC 5802 section 6: what the client binds to is not this connection.
    CHANNEL_BINDING = 535 (5, 7, 8) "Channel binding does not match";
    /// RFC 4954 section 6 (5.7.11): the passwords of PLAIN and LOGIN do not go over clear
    /// connections.
    ENCRYPTION_REQUIRED = 538 (5, 7, 11) "Encryption required for requested authentication mechanism";
    /// RFC 5321 section 4.1.3; mail to address literals is not relayed.
    ADDRESS_LITERAL = 550 (5, 1, 3) "Address literals are not accepted";
    /// RFC 5321 section 2.3.8: CR and LF occur only together.
    BARE_CR_OR_LF = 550 (5, 5, 2) "Message contains bare CR or LF";
    /// RFC 1870 section 6.
    TOO_LARGE = 552 (5, 3, 4) "Message size exceeds fixed limit";
    /// RFC 6531 section 3.5.
    NEEDS_SMTPUTF8 = 553 (5, 6, 7) "Address requires SMTPUTF8";
    /// RFC 5321 section 3.3.
    NO_VALID_RECIPIENTS = 554 (5, 5, 1) "No valid recipients";
    /// RFC 2920 section 3.1: the client did not wait where it must.
    UNAUTHORISED_PIPELINING = 554 (5, 5, 1) "Commands sent ahead of a reply that must be waited for";
    /// Not SMTP at all: a browser, or a request forged to look like mail.
    OTHER_PROTOCOL = 554 (5, 5, 1) "This is an SMTP server";
    /// RFC 5321 section 4.1.1.11.
    UNKNOWN_PARAMETER = 555 (5, 5, 4) "Parameter not recognised or not implemented";
}

/// RFC 4954 section 4: "Username:" in base64.
pub const CHALLENGE_USERNAME: Fixed = Fixed { code: 334, enhanced: None, text: "VXNlcm5hbWU6" };
/// "Password:" in base64.
pub const CHALLENGE_PASSWORD: Fixed = Fixed { code: 334, enhanced: None, text: "UGFzc3dvcmQ6" };
/// An empty challenge, for PLAIN without initial response.
pub const CHALLENGE_EMPTY: Fixed = Fixed { code: 334, enhanced: None, text: "" };
/// RFC 5321 section 4.1.1.4; RFC 2034 has no enhanced code for 3xx.
pub const START_MAIL_INPUT: Fixed =
    Fixed { code: 354, enhanced: None, text: "End data with <CR><LF>.<CR><LF>" };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_agree() {
        for reply in ALL {
            assert!(reply.enhanced.unwrap().fits(reply.code), "{reply:?}");
            assert!(reply.text.bytes().all(|b| (0x20..0x7f).contains(&b)));
        }
    }
}
