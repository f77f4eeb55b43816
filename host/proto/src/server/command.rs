//! The command parser: one line without its CRLF, a typed command or the reply that says what is
//! wrong with it.

use relevo_mailkit::envelope::Recipient;

use super::params::{self, Announced};
use super::path::{self, Path};
use super::replies::{self, Fixed};
use super::types::MailFrom;
use super::xclient::{self, ProxiedClient};

/// A command that is correct in itself. Whether it may come now is the session's question.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ParsedCommand<'a> {
    Ehlo(&'a str),
    Helo(&'a str),
    Mail(MailFrom),
    Rcpt {
        to: Recipient,
        /// The address as written needs SMTPUTF8.
        utf8: bool,
        /// There were parameters.
        extended: bool,
    },
    Data,
    /// BDAT: octets that follow, and whether they are the last.
    Chunk(u64, bool),
    Rset,
    Noop,
    Quit,
    Vrfy,
    Help,
    StartTls,
    Auth {
        mechanism: &'a str,
        initial: Option<&'a str>,
    },
    Proxied(ProxiedClient),
    /// Known, and not offered: the reply says why.
    Refused(Fixed),
    OtherProtocol,
}

/// Which command a line wants to be, also when its parameters are wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Ehlo,
    Helo,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Rset,
    Noop,
    Quit,
    Vrfy,
    Expn,
    Help,
    StartTls,
    Auth,
    Xclient,
    Etrn,
    Turn,
    NotImplemented,
    OtherProtocol,
    Unknown,
}

impl Verb {
    /// RFC 2920 section 3.1, RFC 3207 section 4.1, RFC 4954 section 4: only the last command of a
    /// group.
    pub(crate) fn ends_group(self) -> bool {
        matches!(
            self,
            Self::Ehlo
                | Self::Helo
                | Self::StartTls
                | Self::Auth
                | Self::Xclient
                | Self::Data
                | Self::Vrfy
                | Self::Expn
                | Self::Noop
        )
    }

    /// Moves no mail; many of them are a flood.
    pub(crate) fn is_idle(self) -> bool {
        !matches!(self, Self::Mail | Self::Rcpt | Self::Data | Self::Bdat | Self::Quit)
    }
}

/// The verb of `line` and what follows it.
pub(crate) fn verb(line: &str) -> (Verb, &str) {
    let end = line.find(' ').unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    const VERBS: &[(&str, Verb)] = &[
        ("MAIL", Verb::Mail),
        ("RCPT", Verb::Rcpt),
        ("DATA", Verb::Data),
        ("EHLO", Verb::Ehlo),
        ("HELO", Verb::Helo),
        ("RSET", Verb::Rset),
        ("NOOP", Verb::Noop),
        ("QUIT", Verb::Quit),
        ("VRFY", Verb::Vrfy),
        ("EXPN", Verb::Expn),
        ("HELP", Verb::Help),
        ("STARTTLS", Verb::StartTls),
        ("AUTH", Verb::Auth),
        ("BDAT", Verb::Bdat),
        ("XCLIENT", Verb::Xclient),
        ("ETRN", Verb::Etrn),
        ("TURN", Verb::Turn),
        ("SEND", Verb::NotImplemented),
        ("SOML", Verb::NotImplemented),
        ("SAML", Verb::NotImplemented),
        ("GET", Verb::OtherProtocol),
        ("POST", Verb::OtherProtocol),
        ("PUT", Verb::OtherProtocol),
        ("HEAD", Verb::OtherProtocol),
        ("OPTIONS", Verb::OtherProtocol),
        ("CONNECT", Verb::OtherProtocol),
    ];
    let found = VERBS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    (found.map_or(Verb::Unknown, |v| v.1), rest)
}

/// The command of `verb` with the parameters in `rest`, which is empty or begins with a space.
pub(crate) fn parse<'a>(
    verb: Verb,
    rest: &'a str,
    announced: Announced<'_>,
) -> Result<ParsedCommand<'a>, Fixed> {
    match verb {
        Verb::Ehlo => Ok(ParsedCommand::Ehlo(helo(rest)?)),
        Verb::Helo => Ok(ParsedCommand::Helo(helo(rest)?)),
        Verb::Mail => mail(rest, announced),
        Verb::Rcpt => rcpt(rest, announced),
        Verb::Data => bare(rest, ParsedCommand::Data),
        Verb::Bdat if announced.offers.chunking => chunk(rest),
        Verb::Rset => bare(rest, ParsedCommand::Rset),
        Verb::Quit => bare(rest, ParsedCommand::Quit),
        Verb::StartTls => bare(rest, ParsedCommand::StartTls),
        // RFC 5321 section 4.1.1.9: a parameter is ignored.
        Verb::Noop => Ok(ParsedCommand::Noop),
        Verb::Help => Ok(ParsedCommand::Help),
        Verb::Vrfy if rest.trim_matches(' ').is_empty() => Err(replies::SYNTAX),
        Verb::Vrfy => Ok(ParsedCommand::Vrfy),
        Verb::Auth => auth(rest),
        Verb::Xclient if announced.offers.xclient => Ok(ParsedCommand::Proxied(xclient::parse(rest)?)),
        Verb::Expn => Ok(ParsedCommand::Refused(replies::EXPN)),
        Verb::Etrn => Ok(ParsedCommand::Refused(replies::ETRN)),
        Verb::Turn => Ok(ParsedCommand::Refused(replies::TURN)),
        Verb::Bdat | Verb::Xclient | Verb::NotImplemented => {
            Ok(ParsedCommand::Refused(replies::NOT_IMPLEMENTED))
        }
        Verb::OtherProtocol => Ok(ParsedCommand::OtherProtocol),
        Verb::Unknown => Err(replies::UNKNOWN_COMMAND),
    }
}

fn bare<'a>(rest: &str, command: ParsedCommand<'a>) -> Result<ParsedCommand<'a>, Fixed> {
    if rest.trim_matches(' ').is_empty() { Ok(command) } else { Err(replies::NO_PARAMETERS) }
}

/// A domain or address literal; what real clients send instead is taken too, as long as it is
/// harmless in a trace field.
fn helo(rest: &str) -> Result<&str, Fixed> {
    let name = rest.trim_matches(' ');
    let harmless = name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b));
    if name.is_empty() || name.len() > 255 || !harmless { Err(replies::BAD_HELO) } else { Ok(name) }
}

/// `FROM:` or `TO:` and then the path. Spaces before the path are not in the grammar, but common.
fn path_after<'a>(rest: &'a str, keyword: &str, bad: Fixed) -> Result<(Path<'a>, &'a str), Fixed> {
    let rest = rest.trim_start_matches(' ');
    let (word, rest) = rest.split_at_checked(keyword.len()).ok_or(replies::SYNTAX)?;
    if !word.eq_ignore_ascii_case(keyword) {
        return Err(replies::SYNTAX);
    }
    let (path, rest) = path::parse(rest.trim_start_matches(' ')).ok_or(bad)?;
    if rest.is_empty() || rest.starts_with(' ') { Ok((path, rest)) } else { Err(bad) }
}

/// RFC 3030 section 2: `BDAT SP size [SP LAST]`. A size that does not fit in 64 bits cannot be read
/// to its end by anybody.
fn chunk(rest: &str) -> Result<ParsedCommand<'_>, Fixed> {
    let mut words = rest.split(' ').filter(|word| !word.is_empty());
    let size = words.next().filter(|size| size.len() <= 20 && size.bytes().all(|b| b.is_ascii_digit()));
    let size = size.and_then(|size| size.parse().ok()).ok_or(replies::BAD_CHUNK)?;
    let last = match (words.next(), words.next()) {
        (None, _) => false,
        (Some(word), None) if word.eq_ignore_ascii_case("LAST") => true,
        _ => return Err(replies::BAD_CHUNK),
    };
    Ok(ParsedCommand::Chunk(size, last))
}

fn mail<'a>(rest: &'a str, announced: Announced<'_>) -> Result<ParsedCommand<'a>, Fixed> {
    let (path, parameters) = path_after(rest, "FROM:", replies::BAD_SENDER)?;
    // Only `<>` may lack a domain here.
    if matches!(path, Path::Postmaster(_)) {
        return Err(replies::BAD_SENDER);
    }
    let mut from = MailFrom::default();
    params::mail(parameters, &mut from, announced)?;
    if let Path::Mailbox(text, address) = path {
        if !text.is_ascii() && !from.smtputf8 {
            return Err(replies::NEEDS_SMTPUTF8);
        }
        // As written; only U-labels become A-labels, which every hop can take.
        from.address = if text.is_ascii() { text.to_owned() } else { address.to_string() };
        from.domain = address.domain;
    }
    Ok(ParsedCommand::Mail(from))
}

fn rcpt<'a>(rest: &'a str, announced: Announced<'_>) -> Result<ParsedCommand<'a>, Fixed> {
    let (path, parameters) = path_after(rest, "TO:", replies::BAD_RECIPIENT)?;
    let (mut to, utf8) = match path {
        Path::Null => return Err(replies::BAD_RECIPIENT),
        Path::Postmaster(text) => (Recipient::new(text, ""), false),
        Path::Mailbox(_, address) if address.is_literal() => return Err(replies::ADDRESS_LITERAL),
        Path::Mailbox(text, address) => (Recipient::from(address), !text.is_ascii()),
    };
    params::rcpt(parameters, &mut to, announced)?;
    let extended = !to.parameters.is_empty();
    Ok(ParsedCommand::Rcpt { to, utf8, extended })
}

fn auth(rest: &str) -> Result<ParsedCommand<'_>, Fixed> {
    let mut words = rest.split(' ').filter(|w| !w.is_empty());
    let mechanism = words.next().ok_or(replies::SYNTAX)?;
    let initial = words.next();
    if words.next().is_some() { Err(replies::SYNTAX) } else { Ok(ParsedCommand::Auth { mechanism, initial }) }
}

#[cfg(test)]
mod tests {
    use relevo_mailkit::envelope::Parameter;

    use super::super::offers::Offers;
    use super::super::types::BodyType;
    use super::*;

    fn parsed(line: &str) -> Result<ParsedCommand<'_>, Fixed> {
        let (verb, rest) = verb(line);
        parse(verb, rest, Announced { offers: &Offers::default(), is_tls: false })
    }

    fn from(address: &str, size: u64, body: BodyType, given: &str) -> MailFrom {
        let parameter = |word: &str| {
            let (keyword, value) = word.split_once('=').unwrap_or((word, ""));
            Parameter { keyword: keyword.to_owned(), value: value.to_owned() }
        };
        let domain = address.rsplit('@').next().unwrap_or_default().to_owned();
        let parameters: Vec<_> = given.split_whitespace().map(parameter).collect();
        let smtputf8 = parameters.iter().any(|p| p.keyword == "SMTPUTF8");
        let auth = parameters.iter().any(|p| p.keyword == "AUTH").then(String::new);
        let address = address.into();
        MailFrom { address, domain, size, body, smtputf8, auth, parameters, ..MailFrom::default() }
    }

    #[test]
    fn mail_and_its_parameters() {
        assert_eq!(parsed("mail from:<>"), Ok(ParsedCommand::Mail(from("", 0, BodyType::SevenBit, ""))));
        let given = "SIZE=77 BODY=8BITMIME SMTPUTF8 AUTH=<>";
        assert_eq!(
            parsed("MAIL FROM:<å@b.example> size=77 BODY=8BITMIME SMTPUTF8 AUTH=<>"),
            Ok(ParsedCommand::Mail(from("å@b.example", 77, BodyType::EightBitMime, given)))
        );
        let huge = "MAIL FROM:<a@b> SIZE=99999999999999999999";
        let given = "SIZE=99999999999999999999";
        assert_eq!(parsed(huge), Ok(ParsedCommand::Mail(from("a@b", u64::MAX, BodyType::SevenBit, given))));
        for (line, reply) in [
            ("MAIL FROM:<a@b> X=1", replies::UNKNOWN_PARAMETER),
            ("MAIL FROM:<a@b> RET=HDRS", replies::UNKNOWN_PARAMETER),
            ("MAIL FROM:<a@b> SIZE", replies::BAD_PARAMETER),
            ("MAIL FROM:<a@b> SIZE=-1", replies::BAD_PARAMETER),
            ("MAIL FROM:<a@b> SIZE=1 SIZE=2", replies::BAD_PARAMETER),
            ("MAIL FROM:<a@b> BODY=BINARYMIME", replies::BAD_PARAMETER),
            ("MAIL FROM:<a@b> SMTPUTF8=1", replies::BAD_PARAMETER),
            ("MAIL FROM:<a@b> AUTH=hey+A", replies::BAD_PARAMETER),
            ("MAIL FROM:<a@b> AUTH=<hey+A>", replies::BAD_PARAMETER),
            ("MAIL FROM:<a@b> AUTH=hey+3d", replies::BAD_PARAMETER),
            ("MAIL FROM:<a@b> AUTH=hey+", replies::BAD_PARAMETER),
            ("MAIL FROM:<a@b>SIZE=1", replies::BAD_SENDER),
            ("MAIL FROM:a@b", replies::BAD_SENDER),
            ("MAIL FROM:<postmaster>", replies::BAD_SENDER),
            ("MAIL FROM:<å@b>", replies::NEEDS_SMTPUTF8),
            ("MAIL TO:<a@b>", replies::SYNTAX),
            ("MAIL", replies::SYNTAX),
        ] {
            assert_eq!(parsed(line), Err(reply), "{line}");
        }
    }

    #[test]
    fn rcpt_and_its_refusals() {
        let to = |address: &str, domain: &str| Recipient::new(address, domain);
        for (line, to, utf8) in [
            ("RCPT TO: <a@b>", to("a@b", "b"), false),
            ("RCPT TO:<Postmaster>", to("Postmaster", ""), false),
            ("RCPT TO:<a@B.Example>", to("a@b.example", "b.example"), false),
            ("RCPT TO:<a@bücher.example>", to("a@xn--bcher-kva.example", "xn--bcher-kva.example"), true),
        ] {
            assert_eq!(parsed(line), Ok(ParsedCommand::Rcpt { to, utf8, extended: false }), "{line}");
        }
        for (line, reply) in [
            ("RCPT TO:<>", replies::BAD_RECIPIENT),
            ("RCPT TO:<joe>", replies::BAD_RECIPIENT),
            ("RCPT TO:<a@b_c.example>", replies::BAD_RECIPIENT),
            ("RCPT TO:<a@[127.0.0.1]>", replies::ADDRESS_LITERAL),
            ("RCPT TO:<a@b> NOTIFY=NEVER", replies::UNKNOWN_PARAMETER),
            ("RCPT FROM:<a@b>", replies::SYNTAX),
        ] {
            assert_eq!(parsed(line), Err(reply), "{line}");
        }
    }

    #[test]
    fn the_rest() {
        assert_eq!(parsed("ehlo  [127.0.0.1] "), Ok(ParsedCommand::Ehlo("[127.0.0.1]")));
        assert_eq!(parsed("HELO"), Err(replies::BAD_HELO));
        assert_eq!(parsed("EHLO a(b)"), Err(replies::BAD_HELO));
        assert_eq!(parsed("DATA now"), Err(replies::NO_PARAMETERS));
        assert_eq!(parsed("noop with text"), Ok(ParsedCommand::Noop));
        assert_eq!(parsed("VRFY"), Err(replies::SYNTAX));
        assert_eq!(parsed("EXPN list"), Ok(ParsedCommand::Refused(replies::EXPN)));
        assert_eq!(parsed("ETRN a.test"), Ok(ParsedCommand::Refused(replies::ETRN)));
        assert_eq!(parsed("TURN"), Ok(ParsedCommand::Refused(replies::TURN)));
        assert_eq!(parsed("XCLIENT NAME=a"), Ok(ParsedCommand::Refused(replies::NOT_IMPLEMENTED)));
        assert_eq!(parsed("XYZZY"), Err(replies::UNKNOWN_COMMAND));
        assert_eq!(parsed(""), Err(replies::UNKNOWN_COMMAND));
        assert_eq!(parsed("AUTH"), Err(replies::SYNTAX));
        assert_eq!(
            parsed("AUTH PLAIN ="),
            Ok(ParsedCommand::Auth { mechanism: "PLAIN", initial: Some("=") })
        );
    }
}
