//! `relevo init`: keys, a credential, an API key and a minimal configuration, and the records to
//! publish.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use relevo_keys::SigningKey;
use relevo_mailkit::address::to_ascii;
use relevo_mailkit::model::Algorithm;
use relevo_relay::api_keys::NewToken;
use relevo_relay::records::{DnsRecord, records};
use relevo_relay::settings::Settings;

use crate::cli::InitArgs;
use crate::escape::Escaped;
use crate::keygen::zone_line;
use crate::{config, credential};

/// The configuration's file name in the directory.
const CONFIG: &str = "relevo.toml";
/// The only tenant, its user and its API key.
const TENANT: &str = "main";
/// Selectors and algorithms of each domain's keys. Receivers that know only RSA take the first.
const KEYS: [(&str, Algorithm); 2] =
    [("relevo-rsa", Algorithm::RsaSha256), ("relevo-ed", Algorithm::Ed25519Sha256)];

/// What is made, and the secrets that are shown once.
struct Setup {
    hostname: String,
    domain: String,
    /// The domain for campaigns.
    marketing: Option<String>,
    password: String,
    api_key: NewToken,
}

/// Writes the files and prints secrets and records.
pub(crate) fn run(args: &InitArgs) -> anyhow::Result<ExitCode> {
    let setup = Setup::of(args)?;
    let files = Files::planned(&args.dir, &setup)?;
    let mut made = Made(Vec::new());
    files.write(&setup, args, &mut made)?;
    let config = args.dir.join(CONFIG);
    let loaded = config::load(&config);
    if let Some(mistake) = loaded.mistakes.first() {
        bail!("the new configuration has a mistake: {mistake}");
    }
    let Some(read) = loaded.config else { bail!("{} cannot be read back", config.display()) };
    made.keep();
    print(&setup, &config, &read.settings);
    Ok(ExitCode::SUCCESS)
}

impl Setup {
    fn of(args: &InitArgs) -> anyhow::Result<Self> {
        let domain = full_name(&args.domain, "--domain")?;
        let marketing = args.marketing.as_deref().map(|name| marketing_domain(name, &domain)).transpose()?;
        Ok(Self {
            hostname: full_name(&args.hostname, "--hostname")?,
            domain,
            marketing,
            password: credential::new_secret()?,
            api_key: NewToken::new().context("an API key cannot be made")?,
        })
    }

    fn domains(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.domain.as_str()).chain(self.marketing.as_deref())
    }

    fn text(&self, args: &InitArgs) -> anyhow::Result<String> {
        let Self { hostname, domain, password, api_key, .. } = self;
        let credentials = credential::credentials_line(TENANT, password)?;
        let key_hash = credential::hash_api_key(&api_key.text);
        let mut text = format!(
            r#"# Made by `relevo init`. relevo.example.toml documents every key.
hostname = "{hostname}"
postmaster = "postmaster@{domain}"
data_dir = "data"

[smtp]
# For hosts elsewhere: "0.0.0.0:587" with tls_certificate and tls_key.
submission = ["{smtp}"]

[http]
listen = ["{http}"]

[[tenant]]
id = "{TENANT}"
{credentials}
api_keys = [{{ name = "{TENANT}", hash = "{key_hash}" }}]
"#,
            smtp = args.submission,
            http = args.http,
        );
        for name in self.domains() {
            text.push_str(&domain_table(name));
            if Some(name) == self.marketing.as_deref() {
                text.push_str(
                    "# The page to unsubscribe is here: a proxy with TLS passes it on to [http].\n",
                );
                text.push_str(&format!("tracking = {{ url = \"https://links.{name}\" }}\n"));
            }
        }
        Ok(text)
    }
}

fn domain_table(name: &str) -> String {
    let mut text = format!("\n[[tenant.domain]]\nname = \"{name}\"\ndkim = [\n");
    for (selector, algorithm) in KEYS {
        let (algorithm, file) = (algorithm.as_str(), key_file(name, selector));
        text.push_str(&format!(
            "  {{ selector = \"{selector}\", algorithm = \"{algorithm}\", key = \"{file}\" }},\n"
        ));
    }
    text + "]\n"
}

/// A name in A-labels with a dot in it.
fn full_name(name: &str, option: &str) -> anyhow::Result<String> {
    let ascii = to_ascii(name).map_err(|error| anyhow::anyhow!("{option} `{}`: {error}", Escaped(name)))?;
    ensure!(
        ascii.contains('.') && !ascii.starts_with('['),
        "{option} `{}` must be a full name such as mail.example.com",
        Escaped(name)
    );
    Ok(ascii)
}

/// A name without a dot lies below the domain. A full name stands for itself.
fn marketing_domain(name: &str, domain: &str) -> anyhow::Result<String> {
    let full = if name.contains('.') { name.to_owned() } else { format!("{name}.{domain}") };
    let full = full_name(&full, "--marketing")?;
    ensure!(full != domain, "--marketing must name another domain than --domain");
    Ok(full)
}

fn key_file(domain: &str, selector: &str) -> String {
    format!("{domain}.{selector}.pem")
}

/// The files that are to be made. None of them exists yet.
struct Files {
    directory: PathBuf,
    keys: Vec<(PathBuf, Algorithm)>,
    config: PathBuf,
}

impl Files {
    /// # Errors
    /// Names the first file that exists.
    fn planned(directory: &Path, setup: &Setup) -> anyhow::Result<Self> {
        let of_domain = |domain: &str| {
            KEYS.map(|(selector, algorithm)| (directory.join(key_file(domain, selector)), algorithm))
        };
        let keys: Vec<_> = setup.domains().flat_map(of_domain).collect();
        let config = directory.join(CONFIG);
        for path in std::iter::once(&config).chain(keys.iter().map(|(path, _)| path)) {
            // Also a link that leads nowhere.
            if fs::symlink_metadata(path).is_ok() {
                bail!("{} exists already and is not overwritten: nothing was made", path.display());
            }
        }
        Ok(Self { directory: directory.to_owned(), keys, config })
    }

    fn write(&self, setup: &Setup, args: &InitArgs, made: &mut Made) -> anyhow::Result<()> {
        let directory = DirBuilder::new().recursive(true).mode(0o700).create(&self.directory);
        directory.with_context(|| format!("{} cannot be made", self.directory.display()))?;
        for (path, algorithm) in &self.keys {
            SigningKey::generate(*algorithm)?.write(path)?;
            made.0.push(path.clone());
        }
        // The configuration is last: without it the keys mean nothing.
        let text = setup.text(args)?;
        let mut file = create(&self.config)?;
        made.0.push(self.config.clone());
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        written.with_context(|| format!("{} cannot be written", self.config.display()))
    }
}

fn create(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| {
        match error.kind() {
            ErrorKind::AlreadyExists => {
                anyhow::anyhow!("{} exists already and is not overwritten", path.display())
            }
            _ => anyhow::anyhow!("{} cannot be made: {error}", path.display()),
        }
    })
}

/// Files of this run. They are removed unless all of them were made.
struct Made(Vec<PathBuf>);

impl Made {
    fn keep(&mut self) {
        self.0.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

fn print(setup: &Setup, config: &Path, settings: &Settings) {
    let Setup { hostname, password, api_key, .. } = setup;
    println!("{} is complete. These secrets are shown this once:\n", config.display());
    println!("  SMTP user {TENANT}, password: {password}");
    println!("  API key: {}\n", api_key.text);
    println!("Publish these records:\n");
    println!("; this host: its address, which must also resolve back to it (PTR)");
    println!("; {hostname}. IN A 192.0.2.1");
    println!("; SPF of this host, for mail from <>");
    println!("{}", zone_line(hostname, "TXT", "v=spf1 a -all"));
    for name in setup.domains() {
        let Some(domain) = settings.directory.file_domain(name) else { continue };
        println!("\n; {name}");
        for DnsRecord { kind, name, value, purpose } in records(domain, settings) {
            println!("; {purpose}\n{}", zone_line(&name, kind, &value));
        }
    }
    println!("\nThen run it, and see what is published:\n");
    println!("  relevo serve --config {0}\n  relevo doctor --config {0}", config.display());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(dir: &Path, marketing: Option<&str>) -> InitArgs {
        InitArgs {
            hostname: "MTA1.Example.com".to_owned(),
            domain: "bücher.example".to_owned(),
            dir: dir.to_owned(),
            marketing: marketing.map(str::to_owned),
            submission: ([127, 0, 0, 1], 2587).into(),
            http: ([127, 0, 0, 1], 8025).into(),
        }
    }

    #[test]
    fn the_configuration_is_accepted_with_both_domains_and_their_keys() {
        let folder = tempfile::tempdir().expect("a directory");
        let directory = folder.path().join("new");
        run(&args(&directory, Some("news"))).expect("makes all");
        let loaded = config::load(&directory.join(CONFIG));
        assert_eq!(loaded.mistakes, []);
        let settings = loaded.config.expect("read").settings;
        assert_eq!(settings.hostname, "mta1.example.com");
        for name in ["xn--bcher-kva.example", "news.xn--bcher-kva.example"] {
            let domain = settings.directory.file_domain(name).expect(name);
            let selectors: Vec<_> = domain.dkim.iter().map(|key| key.selector.as_str()).collect();
            assert_eq!(selectors, ["relevo-rsa", "relevo-ed"]);
            assert_eq!(domain.tracking.is_some(), name.starts_with("news"), "for the page to unsubscribe");
        }
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_is_made_beside_it() {
        let folder = tempfile::tempdir().expect("a directory");
        for name in [CONFIG, "xn--bcher-kva.example.relevo-ed.pem"] {
            let directory = folder.path().join(format!("with-{name}"));
            fs::create_dir(&directory).expect("makes");
            let path = directory.join(name);
            fs::write(&path, "mine").expect("writes");
            let error = run(&args(&directory, None)).expect_err("exists").to_string();
            assert!(error.contains(&*path.to_string_lossy()) && error.contains("not overwritten"), "{error}");
            assert_eq!(fs::read_to_string(&path).expect("reads"), "mine");
            assert_eq!(fs::read_dir(&directory).expect("reads").count(), 1);
        }
        let directory = folder.path().join("link");
        fs::create_dir(&directory).expect("makes");
        std::os::unix::fs::symlink("/nowhere/at/all", directory.join(CONFIG)).expect("links");
        assert!(run(&args(&directory, None)).is_err(), "a link that leads nowhere exists");
    }

    #[test]
    fn what_fails_later_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a directory");
        let setup = Setup::of(&args(folder.path(), None)).expect("fits");
        let files = Files::planned(folder.path(), &setup).expect("nothing is there");
        let late = folder.path().join("xn--bcher-kva.example.relevo-ed.pem");
        fs::write(&late, "of somebody else").expect("writes");
        let mut made = Made(Vec::new());
        files.write(&setup, &args(folder.path(), None), &mut made).expect_err("exists");
        drop(made);
        let left: Vec<_> =
            fs::read_dir(folder.path()).expect("reads").map(|e| e.expect("entry").path()).collect();
        assert_eq!(left, [late]);
    }

    #[test]
    fn names_are_checked() {
        assert_eq!(marketing_domain("news", "example.com").expect("below"), "news.example.com");
        assert_eq!(marketing_domain("shop.example", "example.com").expect("beside"), "shop.example");
        for wrong in ["example.com", "", "a b"] {
            assert!(marketing_domain(wrong, "example.com").is_err(), "{wrong}");
        }
        for wrong in ["localhost", "[192.0.2.1]", "a b.example"] {
            assert!(full_name(wrong, "--hostname").is_err(), "{wrong}");
        }
    }
}
