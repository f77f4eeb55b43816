//! Where messages are handed over: a file, and the environment over it.
//!
//! | file | environment | without it |
//! | --- | --- | --- |
//! | `server` | `RELEVO_SENDMAIL_URL` | `smtp://127.0.0.1:25` |
//! | `username` | `RELEVO_SENDMAIL_USERNAME` | no AUTH |
//! | `password_file` | `RELEVO_SENDMAIL_PASSWORD_FILE` | no AUTH |
//! | `tls` | `RELEVO_SENDMAIL_TLS` | `verified` with credentials to another machine, else `opportunistic` |
//! | `ca` | `RELEVO_SENDMAIL_CA` | the system's roots alone |
//! | `sender` | `RELEVO_SENDMAIL_SENDER` | the author of the message |
//! | `domain` | `RELEVO_SENDMAIL_DOMAIN` | the name of this machine |

use std::path::{Path, PathBuf};

use relevo_smtp::client::{Auth, TlsPolicy};
use serde::Deserialize;
use url::Url;

/// Read if it is there and no other is named.
const FILE: &str = "/etc/relevo/sendmail.toml";
/// Octets of a password file that are read.
const MAX_PASSWORD: usize = 1024;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SettingsFile {
    server: Option<String>,
    username: Option<String>,
    password_file: Option<PathBuf>,
    tls: Option<String>,
    ca: Option<PathBuf>,
    sender: Option<String>,
    domain: Option<String>,
}

/// How messages are handed over.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The server's name.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: TlsPolicy,
    pub(crate) auth: Option<Auth>,
    /// Certificates that are believed beside the system's.
    pub(crate) ca: Option<PathBuf>,
    /// The reverse-path of messages for which none is given.
    pub(crate) sender: Option<String>,
    /// For addresses without a domain.
    pub(crate) domain: String,
}

/// Reads the settings. `named` is the file of `-C`; `variable` reads the environment.
///
/// # Errors
/// What is wrong, and where.
pub(crate) fn read(
    named: Option<&Path>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Settings, String> {
    let variable = |name: &str| variable(&format!("RELEVO_SENDMAIL_{name}")).filter(|v| !v.is_empty());
    let named = named.map(Path::to_owned).or_else(|| variable("CONFIG").map(PathBuf::from));
    let (path, must_exist) = match named {
        Some(path) => (path, true),
        None => (PathBuf::from(FILE), false),
    };
    let file = read_file(&path, must_exist)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let in_folder = |file: Option<PathBuf>| file.map(|file| folder.join(file));
    let path_of = |name: &str, file| variable(name).map(PathBuf::from).or_else(|| in_folder(file));
    let (url, place) = match (variable("URL"), file.server) {
        (Some(url), _) => (url, "RELEVO_SENDMAIL_URL".to_owned()),
        (None, Some(url)) => (url, format!("{}: server", path.display())),
        (None, None) => ("smtp://127.0.0.1:25".to_owned(), String::new()),
    };
    let server = server(&url).map_err(|mistake| format!("{place}: {mistake}"))?;
    let username = variable("USERNAME").or(file.username).or(server.username);
    let auth = auth(username, path_of("PASSWORD_FILE", file.password_file))?;
    let given = variable("TLS").or(file.tls);
    let tls = match given.as_deref() {
        None if server.implicit => TlsPolicy::Implicit,
        None if auth.is_some() && !is_this_machine(&server.host) => TlsPolicy::Verified,
        None => TlsPolicy::Opportunistic,
        Some(word) => policy(word).ok_or_else(|| {
            format!("tls: `{word}` is none of none, opportunistic, required, verified and implicit")
        })?,
    };
    Ok(Settings {
        host: server.host,
        port: server.port,
        tls,
        auth,
        ca: path_of("CA", file.ca),
        sender: variable("SENDER").or(file.sender),
        domain: variable("DOMAIN").or(file.domain).unwrap_or_else(machine),
    })
}

fn read_file(path: &Path, must_exist: bool) -> Result<SettingsFile, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map_err(|error| {
            let place = error
                .span()
                .map_or(String::new(), |span| format!(":{}", text[..span.start].matches('\n').count() + 1));
            format!("{}{place}: {}", path.display(), error.message())
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => {
            Ok(SettingsFile::default())
        }
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

struct Server {
    host: String,
    port: u16,
    implicit: bool,
    username: Option<String>,
}

/// `smtp://host[:port]` (587 without a port), or `smtps://host[:port]` (465).
fn server(url: &str) -> Result<Server, String> {
    let wanted = "such as smtp://mail.example.com:587 or smtps://mail.example.com is wanted";
    let url = Url::parse(url).map_err(|error| format!("{error}: a URL {wanted}"))?;
    let implicit = match url.scheme() {
        "smtp" => false,
        "smtps" => true,
        other => return Err(format!("{other} is not a scheme of a server: a URL {wanted}")),
    };
    if url.password().is_some() {
        return Err("a password does not stand in a URL: name a `password_file`".to_owned());
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() {
        return Err(format!("there is something behind the host: a URL {wanted}"));
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(format!("no host: a URL {wanted}"))?;
    let username = Some(url.username()).filter(|name| !name.is_empty()).map(str::to_owned);
    Ok(Server {
        host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        port: url.port().unwrap_or(if implicit { 465 } else { 587 }),
        implicit,
        username,
    })
}

fn auth(username: Option<String>, password_file: Option<PathBuf>) -> Result<Option<Auth>, String> {
    match (username, password_file) {
        (None, None) => Ok(None),
        (Some(username), Some(file)) => {
            let text =
                std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
            let password = text.trim_end_matches(['\r', '\n']).to_owned();
            if password.is_empty() || password.len() > MAX_PASSWORD {
                return Err(format!("{}: not a password of 1 to {MAX_PASSWORD} octets", file.display()));
            }
            Ok(Some(Auth::password(username, password)))
        }
        (Some(_), None) => Err("a username needs a `password_file`".to_owned()),
        (None, Some(_)) => Err("a `password_file` needs a username".to_owned()),
    }
}

fn policy(word: &str) -> Option<TlsPolicy> {
    Some(match word {
        "none" => TlsPolicy::None,
        "opportunistic" => TlsPolicy::Opportunistic,
        "required" => TlsPolicy::Required,
        "verified" => TlsPolicy::Verified,
        "implicit" => TlsPolicy::Implicit,
        _ => return None,
    })
}

fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.to_canonical().is_loopback())
}

fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use relevo_smtp::client::AuthSecret;

    use super::*;

    fn read_with(text: &str, variables: &[(&str, &str)]) -> Result<Settings, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pw"), "secret\n").unwrap();
        let file = folder.path().join("sendmail.toml");
        std::fs::write(&file, text).unwrap();
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        read(Some(&file), variable).map_err(|mistake| mistake.replace(folder.path().to_str().unwrap(), "."))
    }

    #[test]
    fn the_environment_goes_before_the_file() {
        let text = "server = \"smtps://acme@mail.example.com\"\npassword_file = \"pw\"\nsender = \"a@b\"\n";
        let settings = read_with(text, &[]).unwrap();
        assert_eq!(
            (settings.host.as_str(), settings.port, settings.tls),
            ("mail.example.com", 465, TlsPolicy::Implicit)
        );
        let auth = settings.auth.unwrap();
        assert_eq!(auth.username, "acme");
        assert!(matches!(auth.secret, AuthSecret::Password(password) if password == "secret"));
        let over = [("RELEVO_SENDMAIL_URL", "smtp://[::1]:2525"), ("RELEVO_SENDMAIL_USERNAME", "other")];
        let settings = read_with(text, &over).unwrap();
        assert_eq!(
            (settings.host.as_str(), settings.port, settings.tls),
            ("::1", 2525, TlsPolicy::Opportunistic)
        );
        assert_eq!(settings.auth.unwrap().username, "other");
        assert_eq!(settings.sender.as_deref(), Some("a@b"));
    }

    #[test]
    fn credentials_for_another_machine_need_a_certificate() {
        let text = "username = \"acme\"\npassword_file = \"pw\"\n";
        let mode = |url| read_with(text, &[("RELEVO_SENDMAIL_URL", url)]).unwrap().tls;
        assert_eq!(mode("smtp://mail.example.com"), TlsPolicy::Verified);
        assert_eq!(mode("smtp://localhost"), TlsPolicy::Opportunistic);
        assert_eq!(read_with("", &[]).unwrap().tls, TlsPolicy::Opportunistic);
        assert_eq!(read_with("tls = \"required\"", &[]).unwrap().tls, TlsPolicy::Required);
    }

    #[test]
    fn the_example_is_read() {
        let example = include_str!("../../sendmail.example.toml").replace("\"password\"", "\"pw\"");
        let settings = read_with(&example, &[]).unwrap();
        assert_eq!((settings.host.as_str(), settings.port), ("mail.example.com", 465));
        let keys = example.lines().filter_map(|line| line.strip_prefix('#')?.split_once(" = "));
        let all = keys.map(|(key, value)| format!("{key} = {value}\n")).collect::<String>();
        assert!(read_with(&format!("{example}\n{all}"), &[]).is_ok());
    }

    #[test]
    fn mistakes_say_where_they_are() {
        for (text, said) in [
            ("server = \"mail\"", "./sendmail.toml: server: relative URL without a base"),
            ("server = \"https://mail\"", "./sendmail.toml: server: https is not a scheme of a server"),
            ("server = \"smtp://a:b@mail\"", "./sendmail.toml: server: a password does not stand in a URL"),
            ("server = \"smtp://mail/x\"", "./sendmail.toml: server: there is something behind the host"),
            ("\nsmtp = 1", "./sendmail.toml:2: unknown field `smtp`"),
            ("tls = \"yes\"", "tls: `yes` is none of"),
            ("username = \"a\"", "a username needs a `password_file`"),
            ("username = \"a\"\npassword_file = \"none\"", "./none: No such file"),
        ] {
            let mistake = read_with(text, &[]).unwrap_err();
            assert!(mistake.starts_with(said), "{text}: {mistake}");
        }
        assert!(read(Some(Path::new("/nonexistent/x.toml")), |_| None).is_err());
    }
}
