//! The habits of five receivers. All of it is assumed but where a comment names a source; README.md
//! says so in words.

/// A reply: code, enhanced code, text. `{ip}` stands for the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Words(pub(super) u16, pub(super) [u16; 3], pub(super) &'static str);

/// How one receiver behaves.
pub(super) struct Habits {
    /// For people.
    pub(super) name: &'static str,
    /// The domain that the sender writes to.
    pub(super) domain: &'static str,
    /// The name of its MX host.
    pub(super) mx: &'static str,
    /// Of a hundred messages of the sender.
    pub(super) share: u32,
    /// Connections from one address.
    pub(super) connections: u32,
    /// Messages over one connection.
    pub(super) per_connection: u32,
    /// Every first attempt is put off for five minutes.
    pub(super) greylists: bool,
    /// It tells the sender of complaints.
    pub(super) reports_complaints: bool,
    /// To more connections.
    pub(super) too_many: Words,
    /// To more mail in an hour than an address may send.
    pub(super) too_fast: Words,
    /// To more mail in a day than its reputation bears.
    pub(super) too_much: Words,
    /// To an address that it has blocked.
    pub(super) blocked: Words,
}

impl Habits {
    /// Of so many messages of the sender, those to this receiver.
    pub(super) fn of(&self, messages: u32) -> u32 {
        messages * self.share / 100
    }
}

pub(super) const GREYLISTED: Words =
    Words(450, [4, 2, 0], "Recipient address rejected: Greylisted, try again in 300 seconds");
pub(super) const NO_SUCH_USER: Words =
    Words(550, [5, 1, 1], "The email account that you tried to reach does not exist");
pub(super) const SESSION_OVER: Words =
    Words(421, [4, 7, 0], "Max messages per connection reached, closing transmission channel");

const RATE_LIMITED: &str = "Our system has detected an unusual rate of unsolicited mail originating from your \
    IP address [{ip}]. To protect our users from spam, mail sent from your IP address has been temporarily \
    rate limited";
const DEFERRED_BY_YAHOO: &str =
    "[TSS04] Messages from {ip} temporarily deferred due to unexpected volume or user complaints - 4.16.55.1";

/// Connections and messages over one of them are the figures of KumoMTA's `shaping.toml`, which the
/// rules of the relay have, too: of what it does not know, 10 connections and 100 messages. Replies
/// are in the words that these receivers are known for (Sisimai's collection has such ones).
pub(super) static RECEIVERS: [Habits; 5] = [
    Habits {
        name: "Gmail",
        domain: "gmail.com",
        mx: "gmail-smtp-in.l.google.com",
        share: 45,
        connections: 5,
        per_connection: 50,
        greylists: false,
        // It has no feedback loop.
        reports_complaints: false,
        too_many: Words(421, [4, 7, 0], "Too many concurrent connections from {ip}, please try again later"),
        too_fast: Words(421, [4, 7, 28], RATE_LIMITED),
        too_much: Words(421, [4, 7, 28], RATE_LIMITED),
        blocked: Words(
            550,
            [5, 7, 1],
            "[{ip}] Our system has detected an unusual rate of unsolicited mail originating from your IP \
             address. To protect our users from spam, mail sent from your IP address has been blocked. \
             Please visit https://support.google.com/mail/?p=UnsolicitedIPError to review our Bulk Email \
             Senders Guidelines. - gsmtp",
        ),
    },
    Habits {
        name: "Microsoft",
        domain: "outlook.com",
        mx: "outlook-com.olc.protection.outlook.com",
        share: 25,
        connections: 5,
        per_connection: 50,
        greylists: false,
        reports_complaints: true,
        too_many: Words(
            421,
            [4, 3, 2],
            "The maximum number of concurrent server connections has exceeded a limit",
        ),
        too_fast: Words(
            451,
            [4, 7, 650],
            "The mail server [{ip}] has been temporarily rate limited due to IP reputation (S775)",
        ),
        too_much: Words(
            451,
            [4, 7, 650],
            "The mail server [{ip}] has been temporarily rate limited due to IP reputation (S775)",
        ),
        blocked: Words(
            550,
            [5, 7, 1],
            "Unfortunately, messages from [{ip}] weren't sent. Please contact your Internet service provider \
             since part of their network is on our block list (S3150)",
        ),
    },
    Habits {
        name: "Yahoo",
        domain: "yahoo.com",
        mx: "mta5.am0.yahoodns.net",
        share: 15,
        connections: 10,
        per_connection: 20,
        greylists: false,
        reports_complaints: true,
        too_many: Words(421, [4, 7, 0], "[TS01] Too many connections from {ip}"),
        too_fast: Words(421, [4, 7, 0], DEFERRED_BY_YAHOO),
        too_much: Words(421, [4, 7, 0], DEFERRED_BY_YAHOO),
        blocked: Words(
            553,
            [5, 7, 1],
            "[BL21] Connections will not be accepted from {ip}, because the ip is on a list",
        ),
    },
    Habits {
        name: "Orange",
        domain: "orange.fr",
        mx: "smtp-in.orange.fr",
        share: 5,
        connections: 2,
        per_connection: 100,
        greylists: false,
        reports_complaints: true,
        too_many: Words(
            421,
            [4, 7, 0],
            "smtp.orange.fr Trop de connexions, veuillez verifier votre configuration. \
             Too many connections, slow down. OFR_104",
        ),
        too_fast: Words(
            421,
            [4, 7, 0],
            "smtp.orange.fr Trop de messages. Too many messages, slow down. OFR_109",
        ),
        too_much: Words(
            421,
            [4, 7, 0],
            "smtp.orange.fr Service refuse. Veuillez essayer plus tard. Service refused, please try later. OFR_103",
        ),
        blocked: Words(
            550,
            [5, 7, 1],
            "smtp.orange.fr Adresse IP source bloquee pour incident de spam. \
             Client host blocked for spamming issues. OFR006_102 [102]",
        ),
    },
    Habits {
        name: "greylisting host",
        domain: "university.example",
        mx: "mx.university.example",
        share: 10,
        connections: 10,
        per_connection: 100,
        greylists: true,
        reports_complaints: false,
        too_many: Words(421, [4, 7, 0], "Error: too many connections from {ip}"),
        too_fast: Words(450, [4, 7, 1], "Error: too much mail from {ip}"),
        too_much: Words(
            451,
            [4, 7, 1],
            "Temporary local problem, too much mail from {ip} today, please try again later",
        ),
        blocked: Words(
            554,
            [5, 7, 1],
            "Service unavailable; Client host [{ip}] blocked using a local block list",
        ),
    },
];
