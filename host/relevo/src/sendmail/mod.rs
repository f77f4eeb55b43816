//! `relevo sendmail`: takes a message from a program as `sendmail` does and hands it to a submission
//! server. It keeps nothing: a program whose message was not taken has it still.

mod addresses;
mod arguments;
mod message;
pub(crate) mod settings;
pub(crate) mod submit;

use std::ffi::OsString;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use relevo_mailkit::address::Address;
use relevo_mailkit::source::Source;
use relevo_mailkit::text::escaped;
use relevo_smtp::client::{DialogueStep, Envelope, Failure, RecipientOutcome};

use self::arguments::Arguments;
use self::message::Message;
use self::settings::Settings;
use crate::log::say;

/// Octets of a message.
const MAX_MESSAGE: u64 = 128 << 20;

/// Exit codes of `sysexits.h`, which programs that send mail know.
mod exit {
    /// The arguments are wrong.
    pub(super) const USAGE: u8 = 64;
    /// The message or an address in it is wrong.
    pub(super) const DATA: u8 = 65;
    /// A recipient does not exist.
    pub(super) const NO_USER: u8 = 67;
    /// The server refused.
    pub(super) const UNAVAILABLE: u8 = 69;
    /// Input could not be read.
    pub(super) const IO: u8 = 74;
    /// Not now; the program may try again.
    pub(super) const TEMPORARY: u8 = 75;
    /// The server did not believe the credentials.
    pub(super) const PERMISSION: u8 = 77;
    /// The settings are wrong.
    pub(super) const CONFIG: u8 = 78;
}

/// Words for standard error and an exit code.
struct Refused(u8, String);

/// The arguments, if the command line is one of `sendmail`: the program has that name, as a link at
/// `/usr/sbin/sendmail` gives it, or its first argument is that word.
pub(crate) fn arguments_of(line: &[OsString]) -> Option<&[OsString]> {
    let (program, rest) = line.split_first()?;
    if Path::new(program).file_name().is_some_and(|name| name == "sendmail") {
        return Some(rest);
    }
    let (first, rest) = rest.split_first()?;
    let wants_help = rest.first().is_some_and(|argument| argument == "--help");
    (first == "sendmail" && !wants_help).then_some(rest)
}

/// Runs the command.
pub(crate) fn run(line: &[OsString]) -> ExitCode {
    match handed_over(line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Refused(code, words)) => {
            say(&format!("relevo sendmail: {words}"));
            ExitCode::from(code)
        }
    }
}

fn handed_over(line: &[OsString]) -> Result<(), Refused> {
    let texts: Option<Vec<String>> = line.iter().map(|text| text.clone().into_string().ok()).collect();
    let texts = texts.ok_or_else(|| Refused(exit::USAGE, "an argument is not UTF-8".to_owned()))?;
    let arguments = arguments::read(&texts).map_err(|mistake| Refused(exit::USAGE, mistake))?;
    let variable = |name: &str| std::env::var(name).ok();
    let settings = settings::read(arguments.config.as_deref(), variable)
        .map_err(|mistake| Refused(exit::CONFIG, mistake))?;
    let mut recipients = recipients_of_line(&arguments, &settings)?;
    let mut message = Message::read(&standard_input()?, !arguments.ignore_dots);
    if arguments.recipients_of_header {
        let named = message.recipients().map_err(|mistake| Refused(exit::DATA, mistake))?;
        add(&mut recipients, &named, &settings)?;
        message.remove_blind_recipients();
    }
    if recipients.is_empty() {
        let words = "no recipients: name them, or give -t and a header that does";
        return Err(Refused(exit::USAGE, words.to_owned()));
    }
    let sender = sender(&arguments, &settings, &message)?;
    let author =
        if sender.is_empty() { format!("MAILER-DAEMON@{}", settings.domain) } else { sender.clone() };
    message.add_author(&author, arguments.full_name.as_deref());
    let octets = message.octets();
    let envelope = Envelope {
        smtputf8: message.needs_smtputf8() || recipients.iter().chain([&sender]).any(|a| !a.is_ascii()),
        eight_bit: !octets.is_ascii(),
        size: octets.len() as u64,
        sender,
        recipients: recipients.into_iter().map(Into::into).collect(),
        ..Envelope::default()
    };
    submitted(&settings, envelope, octets, arguments.verbose)
}

fn recipients_of_line(arguments: &Arguments, settings: &Settings) -> Result<Vec<String>, Refused> {
    let mut recipients = Vec::new();
    for argument in &arguments.recipients {
        let named = addresses::list(argument).map_err(|mistake| Refused(exit::DATA, mistake))?;
        add(&mut recipients, &named, settings)?;
    }
    Ok(recipients)
}

/// Adds addresses that are not there yet.
fn add(recipients: &mut Vec<String>, named: &[String], settings: &Settings) -> Result<(), Refused> {
    for address in named {
        let address = whole(address, settings)?;
        if !recipients.contains(&address) {
            recipients.push(address);
        }
    }
    Ok(())
}

/// The address with a domain: a user of this machine has its name.
fn whole(address: &str, settings: &Settings) -> Result<String, Refused> {
    let with_domain =
        if address.contains('@') { address.to_owned() } else { format!("{address}@{}", settings.domain) };
    match Address::parse(&with_domain) {
        Ok(address) => Ok(address.to_string()),
        Err(error) => Err(Refused(exit::DATA, format!("{}: {error}", escaped(address, 300)))),
    }
}

/// `-f`, the configured sender, the author of the message, or the user of this machine.
fn sender(arguments: &Arguments, settings: &Settings, message: &Message) -> Result<String, Refused> {
    let given = arguments.sender.clone().or_else(|| settings.sender.clone()).or_else(|| message.author());
    match given.as_deref() {
        Some("" | "<>") => Ok(String::new()),
        Some(address) => whole(address.trim_start_matches('<').trim_end_matches('>'), settings),
        None => {
            let user = ["LOGNAME", "USER"].iter().find_map(|name| std::env::var(name).ok());
            let user = user.filter(|user| !user.is_empty()).unwrap_or_else(|| "nobody".to_owned());
            whole(&user, settings)
        }
    }
}

fn standard_input() -> Result<Vec<u8>, Refused> {
    let mut octets = Vec::new();
    std::io::stdin()
        .lock()
        .take(MAX_MESSAGE + 1)
        .read_to_end(&mut octets)
        .map_err(|error| Refused(exit::IO, format!("the message cannot be read: {error}")))?;
    if octets.len() as u64 > MAX_MESSAGE {
        return Err(Refused(exit::DATA, format!("the message has more than {MAX_MESSAGE} octets")));
    }
    Ok(octets)
}

fn submitted(settings: &Settings, envelope: Envelope, octets: Vec<u8>, verbose: bool) -> Result<(), Refused> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Refused(exit::TEMPORARY, error.to_string()))?;
    let message: Arc<dyn Source> = Arc::new(octets);
    let outcomes = runtime
        .block_on(submit::submit(settings, envelope, message))
        .map_err(|failure| refused(&format!("{}:{}", settings.host, settings.port), &failure))?;
    let mut worst: Option<Refused> = None;
    for (recipient, outcome) in outcomes {
        match outcome {
            RecipientOutcome::Delivered(reply) if verbose => {
                println!("{recipient}: {} {}", reply.code, escaped(&reply.text, 500));
            }
            RecipientOutcome::Delivered(_) => {}
            RecipientOutcome::Failed(failure) => worst = Some(worse(worst, refused(&recipient, &failure))),
            RecipientOutcome::NextTransaction => {
                let words = format!("{recipient}: the server takes no more recipients now");
                worst = Some(worse(worst, Refused(exit::TEMPORARY, words)));
            }
        }
    }
    worst.map_or(Ok(()), Err)
}

/// Both in words. What is permanent decides: a program that tried again would send twice to those
/// who have the message.
fn worse(before: Option<Refused>, now: Refused) -> Refused {
    match before {
        None => now,
        Some(Refused(code, words)) => {
            let code = if code == exit::TEMPORARY { now.0 } else { code };
            Refused(code, format!("{words}\nrelevo sendmail: {}", now.1))
        }
    }
}

fn refused(about: &str, failure: &Failure) -> Refused {
    let words = match &failure.reply {
        Some(reply) => format!("{about}: {} {}", reply.code, escaped(&reply.text, 500)),
        None => format!("{about}: {}", escaped(&failure.detail, 500)),
    };
    let code = match (failure.command, &failure.reply) {
        (DialogueStep::Auth, Some(reply)) if reply.code >= 500 => exit::PERMISSION,
        _ if !failure.permanent => exit::TEMPORARY,
        (DialogueStep::Rcpt, _) if failure.status.subject == 1 => exit::NO_USER,
        (DialogueStep::EndOfData | DialogueStep::Content, _)
            if failure.status.subject == 6 || failure.status == (5, 3, 4) =>
        {
            exit::DATA
        }
        _ => exit::UNAVAILABLE,
    };
    Refused(code, words)
}

#[cfg(test)]
mod tests {
    use relevo_smtp::client::RemoteReply;

    use super::*;

    #[test]
    fn the_command_is_known_by_its_name_or_its_first_argument() {
        let line = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        let of = |text: &str| arguments_of(&line(text)).map(<[OsString]>::len);
        assert_eq!(of("/usr/sbin/sendmail -t -i"), Some(2));
        assert_eq!(of("relevo sendmail -- -a@b"), Some(2));
        assert_eq!(of("sendmail"), Some(0));
        assert_eq!(of("relevo sendmail --help"), None);
        assert_eq!(of("relevo serve --config sendmail"), None);
        assert_eq!(of("relevo"), None);
    }

    #[test]
    fn exit_codes_say_what_a_program_may_do() {
        let reply = |command, code: u16, status: (u8, u16, u16)| {
            let reply = RemoteReply { code, enhanced: Some(status.into()), text: "no".to_owned() };
            refused("x", &Failure::of_reply(command, reply)).0
        };
        assert_eq!(reply(DialogueStep::Rcpt, 550, (5, 1, 1)), exit::NO_USER);
        assert_eq!(reply(DialogueStep::Rcpt, 550, (5, 7, 1)), exit::UNAVAILABLE);
        assert_eq!(reply(DialogueStep::Rcpt, 451, (4, 1, 1)), exit::TEMPORARY);
        assert_eq!(reply(DialogueStep::EndOfData, 550, (5, 6, 0)), exit::DATA);
        assert_eq!(reply(DialogueStep::EndOfData, 552, (5, 3, 4)), exit::DATA);
        assert_eq!(reply(DialogueStep::EndOfData, 550, (5, 7, 1)), exit::UNAVAILABLE);
        assert_eq!(reply(DialogueStep::Auth, 535, (5, 7, 8)), exit::PERMISSION);
        assert_eq!(reply(DialogueStep::Greeting, 554, (5, 3, 2)), exit::TEMPORARY);
        let lost = Failure::of_host(DialogueStep::Connect, (4, 4, 1), "cannot connect");
        assert_eq!(refused("x", &lost).0, exit::TEMPORARY);
        let both = worse(Some(Refused(exit::TEMPORARY, "a".into())), Refused(exit::NO_USER, "b".into()));
        assert_eq!((both.0, both.1.as_str()), (exit::NO_USER, "a\nrelevo sendmail: b"));
    }
}
