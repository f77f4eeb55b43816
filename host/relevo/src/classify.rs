//! `relevo classify`.

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use relevo_mailkit::classification::{Action, BounceType, Classification, ReceiverReply, Subject};
use relevo_runtime::{Classifier, RuntimeConfig};

use crate::cli::ClassifyArgs;
use crate::config;
use crate::escape::Escaped;

/// Octets of a line that count; the rest is passed over.
const MAX_LINE: usize = 16 << 10;

/// Answers each line of standard input, as it comes.
pub(crate) fn run(args: &ClassifyArgs) -> anyhow::Result<ExitCode> {
    let Some(classifier) = classifier(args.config.as_deref())? else { return Ok(ExitCode::FAILURE) };
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    match answer_all(&classifier, args, &mut input, &mut output) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // Nobody reads any more.
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// With the rules of a configuration, or those of the component. None: the configuration has
/// mistakes, which were told.
fn classifier(file: Option<&Path>) -> anyhow::Result<Option<Arc<Classifier>>> {
    let (rules, cache_dir) = match file {
        Some(file) => {
            let loaded = config::load(file);
            for mistake in &loaded.mistakes {
                eprintln!("error: {mistake}");
            }
            let Some(config) = loaded.config else { return Ok(None) };
            (config.classify_rules, component_cache(Some(&config.data_dir)))
        }
        None => (None, component_cache(None)),
    };
    let config = RuntimeConfig { cache_dir, calls: 1, ..RuntimeConfig::default() };
    Ok(Some(Classifier::new(&config, rules).context("the classifier")?))
}

/// Where compiled components are kept, so that the next command begins at once: in the data directory
/// of a relay, or with what belongs to the user.
pub(crate) fn component_cache(data_dir: Option<&Path>) -> Option<PathBuf> {
    // The relay's own: it is not made by somebody else.
    data_dir.map(|folder| folder.join("components")).filter(|own| own.is_dir()).or_else(user_cache)
}

fn user_cache() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?;
    std::fs::create_dir_all(&base).ok()?;
    Some(base.join("relevo"))
}

fn answer_all(
    classifier: &Classifier,
    args: &ClassifyArgs,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> anyhow::Result<()> {
    let mut line = Vec::new();
    while read_line(input, &mut line).context("standard input")? {
        let text = decoded(&line);
        let reply = ReceiverReply { host: args.mx.clone(), text, ..ReceiverReply::default() };
        let answer = classifier.classify(&reply)?;
        if args.json {
            writeln!(output, "{}", serde_json::to_string(&answer)?)?;
        } else {
            write_words(output, &reply.text, &answer)?;
        }
        output.flush()?;
    }
    Ok(())
}

/// Reads a line without its end. False: there is none left.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut is_line = false;
    loop {
        let available = match input.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if available.is_empty() {
            return Ok(is_line);
        }
        is_line = true;
        let end = available.iter().position(|octet| *octet == b'\n');
        let taken = &available[..end.unwrap_or(available.len())];
        let room = MAX_LINE - line.len();
        line.extend_from_slice(&taken[..taken.len().min(room)]);
        let used = taken.len() + usize::from(end.is_some());
        input.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

/// UTF-8, or else Latin-1. A cut character at the end does not make it Latin-1.
fn decoded(line: &[u8]) -> String {
    match std::str::from_utf8(line) {
        Ok(text) => text.to_owned(),
        Err(error) if error.error_len().is_none() => String::from_utf8_lossy(line).into_owned(),
        Err(_) => line.iter().map(|octet| char::from(*octet)).collect(),
    }
}

/// For people, in their language if it is Spanish.
fn write_words(output: &mut impl Write, text: &str, answer: &Classification) -> io::Result<()> {
    writeln!(output, "{}", Escaped(text.trim()))?;
    let about = subject(answer.about);
    writeln!(
        output,
        "  {}: {}, about {about}; {}",
        Escaped(&answer.category),
        bounce_type(answer.bounce_type),
        action(answer.action)
    )?;
    let explanation = if is_spanish() { &answer.explanation.es } else { &answer.explanation.en };
    writeln!(output, "  {}", Escaped(explanation))?;
    if let Some(doc) = &answer.doc {
        writeln!(output, "  {}", Escaped(doc))?;
    }
    writeln!(output, "  rule {} of {}", Escaped(&answer.rule), Escaped(&answer.rules_version))
}

fn is_spanish() -> bool {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let language = set("LC_ALL").or_else(|| set("LC_MESSAGES")).or_else(|| set("LANG"));
    language.is_some_and(|language| language.starts_with("es"))
}

fn bounce_type(bounce_type: BounceType) -> &'static str {
    match bounce_type {
        BounceType::Hard => "for good",
        BounceType::Soft => "for now",
        BounceType::Block => "not as it was sent",
        BounceType::Undetermined => "it cannot be told",
    }
}

fn subject(subject: Subject) -> &'static str {
    match subject {
        Subject::Recipient => "the recipient",
        Subject::SenderIp => "the sender's IP address",
        Subject::SenderDomain => "the sending domain",
        Subject::Message => "the message",
        Subject::RemoteSystem => "the receiver's system",
        Subject::Us => "this relay",
    }
}

fn action(action: Action) -> &'static str {
    match action {
        Action::Suppress => "send to this recipient no more",
        Action::Retry => "try again later",
        Action::SlowDown => "send less to this provider",
        Action::Suspend => "send nothing from this address there for a while",
        Action::Fix => "something has to be changed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_counted() {
        let long = "x".repeat(MAX_LINE * 3);
        let text = format!("one\n\n{long}\nlast");
        let (mut input, mut line, mut found) = (text.as_bytes(), Vec::new(), Vec::new());
        while read_line(&mut input, &mut line).expect("memory") {
            found.push(line.len());
        }
        assert_eq!(found, [3, 0, MAX_LINE, 4]);
    }

    #[test]
    fn octets_that_are_not_utf8_are_latin1() {
        assert_eq!(decoded("Boîte".as_bytes()), "Boîte");
        assert_eq!(decoded(b"Bo\xeete"), "Boîte");
        assert_eq!(decoded(&"é".as_bytes()[..1]), "\u{fffd}");
    }
}
