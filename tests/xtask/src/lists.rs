//! Makes the lists of `components/addresses/data` from packages of npm.
//!
//! crates.io has a package with disposable domains alone (`mailchecker`, a dependency). The other
//! lists are committed as text, with the package, its version and its licence in their first lines.
//! A newer list is a newer version here and `cargo xtask lists`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::workspace::{Workspace, run};

/// A list and the package that it comes from.
struct List {
    /// `data/<file>.txt`, with the licence in `data/<file>.LICENSE`.
    file: &'static str,
    /// For the first line of the file.
    title: &'static str,
    package: &'static str,
    version: &'static str,
    license: &'static str,
    /// Within the package.
    data: &'static str,
    license_file: &'static str,
    /// The quotation mark of the entries.
    quote: char,
    /// What is not an entry of ours.
    leaves_out: fn(&str) -> bool,
}

const LISTS: [List; 2] = [
    List {
        file: "free",
        title: "Domains of mail providers where everybody can have a mailbox for nothing.",
        package: "free-email-domains",
        version: "1.12.6",
        license: "MIT",
        data: "package/domains.json",
        license_file: "package/LICENSE.md",
        quote: '"',
        leaves_out: |_| false,
    },
    List {
        file: "roles",
        title: "Local parts that are read by a team or by nobody.",
        package: "role-based-email-addresses",
        version: "3.1.0",
        license: "MIT",
        data: "package/src/index.js",
        license_file: "package/LICENSE",
        quote: '\'',
        leaves_out: is_name,
    },
];

/// Entries of the roles that are names of people or places, years and syllables: an address of that
/// name is mostly a person's.
const NAMES: [&str; 40] = [
    "alexa",
    "alla",
    "angels",
    "aaa",
    "abc",
    "asd",
    "asdasd",
    "asdf",
    "berlin",
    "boston",
    "ca",
    "captain",
    "caltrain",
    "chicago",
    "china",
    "church",
    "denver",
    "europe",
    "france",
    "gardner",
    "india",
    "la",
    "lt",
    "md",
    "montreal",
    "mt",
    "newyork",
    "ny",
    "nyc",
    "paris",
    "per",
    "princip",
    "principa",
    "seattle",
    "sf",
    "singapore",
    "stockholm",
    "sydney",
    "uk",
    "us",
];

fn is_name(entry: &str) -> bool {
    NAMES.contains(&entry) || entry.bytes().all(|octet| octet.is_ascii_digit())
}

/// `cargo xtask lists`
pub(crate) fn all(workspace: &Workspace) -> Result<()> {
    let data = workspace.root.join("components/addresses/data");
    let scratch = workspace.target.join("lists");
    fs::create_dir_all(&scratch)?;
    LISTS.iter().try_for_each(|list| list.make(&scratch, &data).with_context(|| list.package.to_owned()))
}

impl List {
    fn make(&self, scratch: &Path, data: &Path) -> Result<()> {
        let Self { file, title, package, version, license, .. } = self;
        let name = format!("{package}@{version}");
        run(Command::new("npm").args(["pack", "--silent", &name]).current_dir(scratch))?;
        let archive = scratch.join(format!("{package}-{version}.tgz"));
        let text = member(&archive, self.data)?;
        let mut entries: Vec<String> = text
            .split(self.quote)
            .skip(1)
            .step_by(2)
            .map(str::to_ascii_lowercase)
            .filter(|entry| is_entry(entry) && !(self.leaves_out)(entry))
            .collect();
        entries.sort_unstable();
        entries.dedup();
        ensure!(entries.len() > 500, "{} entries are too few: has the package another form?", entries.len());
        let head = format!(
            "# {title}\n# Made by `cargo xtask lists` from {package} {version} (npm), licence {license}: see {file}.LICENSE.\n"
        );
        fs::write(data.join(format!("{file}.txt")), head + &entries.join("\n") + "\n")?;
        fs::write(data.join(format!("{file}.LICENSE")), member(&archive, self.license_file)?)?;
        println!("{file}: {} entries of {name}", entries.len());
        Ok(())
    }
}

/// A domain in A-labels, or a local part.
fn is_entry(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|o| o.is_ascii_alphanumeric() || matches!(o, b'.' | b'-' | b'_'))
}

/// A file of an archive.
fn member(archive: &Path, path: &str) -> Result<String> {
    let out = Command::new("tar").arg("-xzOf").arg(archive).arg(path).output().context("tar")?;
    ensure!(out.status.success(), "{} has no {path}", archive.display());
    Ok(String::from_utf8(out.stdout)?)
}
