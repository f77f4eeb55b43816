//! The parameters of MAIL and RCPT (RFC 5321 section 4.1.1.11). One that was not announced is
//! unknown.

use relevo_mailkit::dsn::{EnvelopeId, Notify, OriginalRecipient, Ret, xtext};
use relevo_mailkit::envelope::{Parameter, Recipient};
use relevo_mailkit::urgency::{ByMode, DeliverBy, MtPriority};

use super::offers::{FutureRelease, Offers};
use super::replies::{self, Fixed};
use super::types::{BodyType, Hold, MailFrom};

/// Digits of an interval (RFC 2852, RFC 4865).
const MAX_INTERVAL_DIGITS: usize = 9;
/// AUTH= (RFC 4954 section 5).
const MAX_AUTH: usize = 500;

/// What was announced to the client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Announced<'a> {
    pub(crate) offers: &'a Offers,
    pub(crate) is_tls: bool,
}

/// Splits `text` at spaces into keyword and value. A keyword that comes twice is an error.
fn each(
    text: &str,
    mut take: impl FnMut(&str, Option<&str>) -> Result<(), Fixed>,
) -> Result<Vec<Parameter>, Fixed> {
    let mut parameters: Vec<Parameter> = Vec::new();
    for parameter in text.split(' ').filter(|p| !p.is_empty()) {
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (parameter, None),
        };
        let keyword = name.to_ascii_uppercase();
        if parameters.iter().any(|seen| seen.keyword == keyword) {
            return Err(replies::BAD_PARAMETER);
        }
        take(&keyword, value)?;
        parameters.push(Parameter { keyword, value: value.unwrap_or_default().to_owned() });
    }
    Ok(parameters)
}

/// Takes the parameters of MAIL into `from`.
pub(crate) fn mail(text: &str, from: &mut MailFrom, announced: Announced<'_>) -> Result<(), Fixed> {
    let parameters = each(text, |keyword, value| match offered(keyword, announced) {
        true => mail_parameter(keyword, value, from, announced.offers),
        false => Err(replies::UNKNOWN_PARAMETER),
    })?;
    from.parameters = parameters;
    Ok(())
}

fn offered(keyword: &str, Announced { offers, is_tls }: Announced<'_>) -> bool {
    match keyword {
        "SIZE" | "BODY" | "SMTPUTF8" | "AUTH" => true,
        "RET" | "ENVID" => offers.dsn,
        // RFC 8689 section 2: announced under TLS only.
        "REQUIRETLS" => offers.requiretls && is_tls,
        "HOLDFOR" | "HOLDUNTIL" => offers.future_release.is_some(),
        "BY" => offers.deliver_by.is_some(),
        "MT-PRIORITY" => offers.mt_priority.is_some(),
        _ => false,
    }
}

fn mail_parameter(
    keyword: &str,
    value: Option<&str>,
    from: &mut MailFrom,
    offers: &Offers,
) -> Result<(), Fixed> {
    let bad = replies::BAD_PARAMETER;
    // Those without a value.
    let flag = match keyword {
        "SMTPUTF8" => Some(&mut from.smtputf8),
        "REQUIRETLS" => Some(&mut from.options.require_tls),
        _ => None,
    };
    if let Some(flag) = flag {
        *flag = true;
        return if value.is_none() { Ok(()) } else { Err(bad) };
    }
    let value = value.ok_or(bad)?;
    match keyword {
        "SIZE" => from.size = size(value)?,
        "BODY" => from.body = body(value, offers).ok_or(bad)?,
        "AUTH" => from.auth = Some(auth(value).ok_or(bad)?),
        "RET" => from.options.dsn.ret = Some(Ret::parse(value).ok_or(bad)?),
        "ENVID" => from.options.dsn.envid = Some(EnvelopeId::parse(value).ok_or(bad)?),
        // RFC 4865: one of the two.
        "HOLDFOR" | "HOLDUNTIL" if from.hold.is_some() => return Err(bad),
        "HOLDFOR" => from.hold = Some(Hold::For(interval(value).ok_or(bad)?)),
        "HOLDUNTIL" => from.hold = Some(Hold::Until(date(value).ok_or(bad)?)),
        "BY" => from.options.deliver_by = Some(DeliverBy::parse(value).ok_or(bad)?),
        "MT-PRIORITY" => from.options.priority = Some(MtPriority::parse(value).ok_or(bad)?),
        _ => return Err(replies::UNKNOWN_PARAMETER),
    }
    within_limits(from, offers)
}

/// What was announced with a limit keeps to it.
fn within_limits(from: &MailFrom, offers: &Offers) -> Result<(), Fixed> {
    if let (Some(hold), Some(FutureRelease { max_interval, now })) = (from.hold, offers.future_release) {
        let latest = now.saturating_add(i64::from(max_interval));
        let fits = match hold {
            Hold::For(seconds) => seconds <= max_interval,
            Hold::Until(time) => time <= latest,
        };
        if !fits {
            return Err(replies::HOLD_TOO_LONG);
        }
    }
    if let (Some(by), Some(minimum)) = (from.options.deliver_by, offers.deliver_by)
        && by.mode == ByMode::Return
        && i64::from(by.seconds) < i64::from(minimum)
    {
        return Err(replies::BY_TOO_SHORT);
    }
    // Such mail would be accepted and then returned for being late. With mode N it is only late.
    if let (Some(by), Some(hold)) = (from.options.deliver_by, from.hold)
        && by.mode == ByMode::Return
        && i64::from(by.seconds) <= held_for(hold, offers)
    {
        return Err(replies::BY_BEFORE_HOLD);
    }
    Ok(())
}

/// Seconds until the release; not positive where it is over.
fn held_for(hold: Hold, offers: &Offers) -> i64 {
    match hold {
        Hold::For(seconds) => i64::from(seconds),
        Hold::Until(time) => offers.future_release.map_or(0, |release| time.saturating_sub(release.now)),
    }
}

/// RFC 1870 section 6: up to 20 digits; what does not fit in 64 bits is surely too large.
fn size(value: &str) -> Result<u64, Fixed> {
    if value.len() > 20 || !is_number(value) {
        return Err(replies::BAD_PARAMETER);
    }
    Ok(value.parse().unwrap_or(u64::MAX))
}

fn is_number(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit())
}

fn body(value: &str, offers: &Offers) -> Option<BodyType> {
    match value {
        _ if value.eq_ignore_ascii_case("7BIT") => Some(BodyType::SevenBit),
        _ if value.eq_ignore_ascii_case("8BITMIME") => Some(BodyType::EightBitMime),
        _ if offers.has_binarymime() && value.eq_ignore_ascii_case("BINARYMIME") => {
            Some(BodyType::BinaryMime)
        }
        _ => None,
    }
}

/// RFC 4954 section 5: a mailbox as xtext, or `<>`: its originator is not known. Empty for the
/// latter.
fn auth(value: &str) -> Option<String> {
    match value {
        "<>" => Some(String::new()),
        _ if (1..=MAX_AUTH).contains(&value.len()) => {
            decoded(value).filter(|text| !text.is_empty() && !text.chars().any(char::is_control))
        }
        _ => None,
    }
}

/// The text of an xtext value.
pub(super) fn decoded(value: &str) -> Option<String> {
    String::from_utf8(xtext::decode(value)?).ok()
}

/// RFC 4865: 1 to 9 digits, in seconds.
fn interval(value: &str) -> Option<u32> {
    (value.len() <= MAX_INTERVAL_DIGITS && is_number(value)).then(|| value.parse().ok())?
}

/// RFC 4865 with erratum 2040: a date-time of RFC 3339, in seconds since 1970.
fn date(value: &str) -> Option<i64> {
    // The parser takes more forms than that of RFC 3339.
    let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    let octets = value.as_bytes();
    let shaped = separators.iter().all(|&(at, octet)| octets.get(at) == Some(&octet))
        && matches!(octets.get(10), Some(b'T' | b't'))
        && (20..=40).contains(&octets.len())
        && octets.iter().all(|b| b.is_ascii_digit() || b"-:.+TtZz".contains(b));
    let timestamp: jiff::Timestamp = shaped.then(|| value.to_ascii_uppercase().parse().ok())??;
    Some(timestamp.as_second())
}

/// Takes the parameters of RCPT into `to`.
pub(crate) fn rcpt(text: &str, to: &mut Recipient, announced: Announced<'_>) -> Result<(), Fixed> {
    to.parameters = each(text, |keyword, value| {
        let is_valid = match (keyword, value) {
            ("NOTIFY" | "ORCPT", _) if !announced.offers.dsn => return Err(replies::UNKNOWN_PARAMETER),
            ("NOTIFY", Some(value)) => Notify::parse(value).is_some(),
            ("ORCPT", Some(value)) => OriginalRecipient::parse(value).is_some(),
            ("NOTIFY" | "ORCPT", None) => false,
            _ => return Err(replies::UNKNOWN_PARAMETER),
        };
        if is_valid { Ok(()) } else { Err(replies::BAD_PARAMETER) }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use relevo_mailkit::dsn::RecipientDsn;

    use super::*;

    fn offers() -> Offers {
        Offers {
            chunking: true,
            binarymime: true,
            dsn: true,
            requiretls: true,
            future_release: Some(FutureRelease { max_interval: 3600, now: 1_700_000_000 }),
            deliver_by: Some(60),
            mt_priority: Some(String::new()),
            ..Offers::default()
        }
    }

    fn parsed(text: &str) -> Result<MailFrom, Fixed> {
        let mut from = MailFrom::default();
        mail(text, &mut from, Announced { offers: &offers(), is_tls: true })?;
        Ok(from)
    }

    #[test]
    fn everything_at_once() {
        let from = parsed("RET=HDRS ENVID=a+20b REQUIRETLS HOLDFOR=60 BY=120;rt MT-PRIORITY=-3 AUTH=x+40y");
        let from = from.unwrap();
        let asked = &from.options.dsn;
        assert_eq!((asked.ret, asked.envid.as_ref().map(EnvelopeId::as_str)), (Some(Ret::Hdrs), Some("a b")));
        assert!(from.options.require_tls);
        assert_eq!(from.hold, Some(Hold::For(60)));
        let by = DeliverBy { seconds: 120, mode: ByMode::Return, trace: true };
        assert_eq!(from.options.deliver_by, Some(by));
        assert_eq!((from.options.priority, from.auth.as_deref()), (MtPriority::new(-3), Some("x@y")));
        assert_eq!(from.parameters.len(), 7);
        assert_eq!(from.parameters[1].value, "a+20b", "as it was written");
        assert_eq!(parsed("HOLDUNTIL=2023-11-14T22:13:21Z").unwrap().hold, Some(Hold::Until(1_700_000_001)));
        assert_eq!(
            parsed("holduntil=2023-11-14t23:13:21.5+01:00").unwrap().hold,
            Some(Hold::Until(1_700_000_001))
        );
        assert_eq!(parsed("BY=-5;N").unwrap().options.deliver_by.map(|by| by.seconds), Some(-5));
        assert_eq!(parsed("AUTH=<>").unwrap().auth.as_deref(), Some(""));
    }

    #[test]
    fn mistakes() {
        for text in [
            "RET=ALL",
            "RET",
            "RET=FULL RET=HDRS",
            "ENVID=",
            "ENVID=a+0Ab",
            "REQUIRETLS=yes",
            "HOLDFOR=",
            "HOLDFOR=-1",
            "HOLDFOR=1234567890",
            "HOLDFOR=1 HOLDUNTIL=2023-11-14T22:13:21Z",
            "HOLDUNTIL=tomorrow",
            "HOLDUNTIL=2023-11-14",
            "HOLDUNTIL=2023-11-14T22:13Z",
            "HOLDUNTIL=2023-13-14T22:13:21Z",
            "HOLDUNTIL=2023-11-14T22:13:21",
            "BY=60",
            "BY=;R",
            "BY=60;X",
            "BY=60;RTT",
            "BY=60;TR",
            "BY=0;R",
            "BY=-60;R",
            "BY=+-60;N",
            "MT-PRIORITY=10",
            "MT-PRIORITY=+1",
            "MT-PRIORITY=-0",
            "MT-PRIORITY=",
            "AUTH=",
            "AUTH=a+0Ab",
        ] {
            assert_eq!(parsed(text), Err(replies::BAD_PARAMETER), "{text}");
        }
        assert_eq!(parsed("HOLDFOR=3601"), Err(replies::HOLD_TOO_LONG));
        assert_eq!(parsed("HOLDUNTIL=2023-11-14T23:13:21Z"), Err(replies::HOLD_TOO_LONG));
        assert_eq!(parsed("BY=59;R"), Err(replies::BY_TOO_SHORT));
        for text in [
            "BY=120;R HOLDFOR=120",
            "HOLDFOR=3600 BY=120;RT",
            "HOLDUNTIL=2023-11-14T22:15:20Z BY=120;R",
            "BY=120;R HOLDUNTIL=2023-11-14T22:15:20Z",
        ] {
            assert_eq!(parsed(text), Err(replies::BY_BEFORE_HOLD), "{text}");
        }
        for text in [
            "BY=120;R HOLDFOR=119",
            "BY=120;N HOLDFOR=3600",
            "HOLDUNTIL=2023-11-14T22:15:19Z BY=120;R",
            "HOLDUNTIL=2003-11-14T22:15:19Z BY=120;R",
        ] {
            assert!(parsed(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_not_offered_is_unknown() {
        let none = Offers::default();
        for text in ["RET=FULL", "ENVID=x", "REQUIRETLS", "HOLDFOR=1", "BY=60;R", "MT-PRIORITY=1"] {
            let mut from = MailFrom::default();
            let result = mail(text, &mut from, Announced { offers: &none, is_tls: true });
            assert_eq!(result, Err(replies::UNKNOWN_PARAMETER), "{text}");
        }
        let mut from = MailFrom::default();
        let clear = Announced { offers: &offers(), is_tls: false };
        assert_eq!(mail("REQUIRETLS", &mut from, clear), Err(replies::UNKNOWN_PARAMETER));
    }

    #[test]
    fn recipients() {
        let offers = offers();
        let announced = Announced { offers: &offers, is_tls: false };
        let mut to = Recipient::new("a@b.example", "b.example");
        assert_eq!(rcpt("NOTIFY=DELAY,FAILURE ORCPT=rfc822;x+2By@z", &mut to, announced), Ok(()));
        let asked = RecipientDsn::of_parameters(&to.parameters);
        assert_eq!(asked.orcpt.as_ref().map(OriginalRecipient::address), Some("x+y@z"));
        for text in
            ["NOTIFY", "NOTIFY=NEVER,DELAY", "NOTIFY=DELAY NOTIFY=DELAY", "ORCPT=x", "ORCPT=rfc822;a=b"]
        {
            assert_eq!(rcpt(text, &mut to, announced), Err(replies::BAD_PARAMETER), "{text}");
        }
        assert_eq!(rcpt("RET=FULL", &mut to, announced), Err(replies::UNKNOWN_PARAMETER));
    }
}
