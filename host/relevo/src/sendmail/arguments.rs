//! The arguments that programs give to `sendmail`.

use std::path::PathBuf;

/// What the command line asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Arguments {
    /// `-t`: recipients are those of the header, too.
    pub(super) recipients_of_header: bool,
    /// `-i`, `-oi`: a line with a dot alone does not end the message.
    pub(super) ignore_dots: bool,
    /// `-f`, `-r`: the reverse-path; empty for the null one.
    pub(super) sender: Option<String>,
    /// `-F`: the name for a From field that is made.
    pub(super) full_name: Option<String>,
    /// `-C`: the configuration file.
    pub(super) config: Option<PathBuf>,
    /// `-v`: say what the server answered.
    pub(super) verbose: bool,
    /// As given, not yet read.
    pub(super) recipients: Vec<String>,
}

/// Options with a value that have no effect here: they ask for what a relay decides, or for nothing.
const IGNORED_WITH_VALUE: &str = "ABdehLNOpRVXx";
/// Options without a value that have no effect here.
const IGNORED: &str = "GmnUs";

/// Reads arguments. Options may stand together (`-ti`) and behind recipients; `--` ends them.
///
/// # Errors
/// The option that is not known, has no value or cannot be done.
pub(super) fn read(arguments: &[String]) -> Result<Arguments, String> {
    let mut read = Arguments::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.strip_prefix('-') {
            Some("-") => {
                read.recipients.extend(rest.by_ref().cloned());
            }
            Some(options) if !options.is_empty() => read.options(options, &mut || rest.next().cloned())?,
            _ => read.recipients.push(argument.clone()),
        }
    }
    Ok(read)
}

impl Arguments {
    /// The options of one argument, without its hyphen.
    fn options(&mut self, options: &str, next: &mut dyn FnMut() -> Option<String>) -> Result<(), String> {
        let mut letters = options.chars();
        while let Some(letter) = letters.next() {
            match letter {
                't' => self.recipients_of_header = true,
                'i' => self.ignore_dots = true,
                'v' => self.verbose = true,
                _ if IGNORED.contains(letter) => {}
                'q' | 'I' => {
                    return Err(format!(
                        "-{letter} is not supported: there is no queue here, see `relevo queue`"
                    ));
                }
                _ if "fFrCob".contains(letter) || IGNORED_WITH_VALUE.contains(letter) => {
                    let attached = letters.as_str();
                    let value = if attached.is_empty() { next() } else { Some(attached.to_owned()) };
                    let value = value.ok_or_else(|| format!("-{letter} needs a value"))?;
                    return self.option(letter, value);
                }
                _ => return Err(format!("-{letter} is not known")),
            }
        }
        Ok(())
    }

    fn option(&mut self, letter: char, value: String) -> Result<(), String> {
        match letter {
            'f' | 'r' => self.sender = Some(value),
            'F' => self.full_name = Some(value),
            'C' => self.config = Some(value.into()),
            // `-oi`, and others that say how errors and delivery are handled.
            'o' if value == "i" => self.ignore_dots = true,
            'b' => return mode(&value),
            _ => {}
        }
        Ok(())
    }
}

fn mode(mode: &str) -> Result<(), String> {
    let instead = match mode {
        "m" => return Ok(()),
        "p" => "list the queue with `relevo queue list`",
        "s" => "connect to the server itself",
        "d" | "D" => "run `relevo serve`",
        "i" => "there are no aliases",
        _ => "messages are sent, nothing else",
    };
    Err(format!("-b{mode} is not supported: {instead}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Arguments, String> {
        read(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn what_programs_say_is_understood() {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let header = Arguments { recipients_of_header: true, ignore_dots: true, ..Arguments::default() };
        // PHP, and its documentation.
        assert_eq!(of("-t -i"), Ok(header.clone()));
        assert_eq!(of("-ti"), Ok(header.clone()));
        let from = Arguments { sender: Some("a@b.example".to_owned()), ..header.clone() };
        assert_eq!(of("-t -i -fa@b.example"), Ok(from.clone()));
        // cron, git send-email, logwatch, mutt.
        let cron = Arguments {
            full_name: Some("CronDaemon".to_owned()),
            sender: Some("root".to_owned()),
            ignore_dots: true,
            recipients: texts(&["root"]),
            ..Arguments::default()
        };
        assert_eq!(of("-FCronDaemon -i -B8BITMIME -oem -f root root"), Ok(cron));
        let git = Arguments { recipients: texts(&["x@y.example", "-z@y.example"]), ..from.clone() };
        assert_eq!(of("-oi -t -f a@b.example x@y.example -- -z@y.example"), Ok(git));
        assert_eq!(of("-oem -oi -bm -N never -R hdrs -V id -t -r a@b.example"), Ok(from));
        let behind = Arguments { recipients: texts(&["x@y.example"]), ..header };
        assert_eq!(of("x@y.example -i -t"), Ok(behind));
        assert_eq!(read(&texts(&["-f", ""])).unwrap().sender.as_deref(), Some(""));
        assert_eq!(of("-v -C /x.toml").unwrap().config, Some("/x.toml".into()));
    }

    #[test]
    fn what_cannot_be_done_is_named() {
        for (line, said) in [
            ("-bp", "-bp is not supported: list the queue with `relevo queue list`"),
            ("-bs", "-bs is not supported: connect to the server itself"),
            ("-q30m", "-q is not supported: there is no queue here, see `relevo queue`"),
            ("-tZ", "-Z is not known"),
            ("--help-me", "-- is not known"),
            ("-f", "-f needs a value"),
        ] {
            assert_eq!(of(line).unwrap_err(), said, "{line}");
        }
    }
}
