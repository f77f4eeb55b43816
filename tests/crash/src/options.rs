//! The command line.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

pub(crate) const USAGE: &str = "\
usage: RELEVO=PATH relevo-crash [OPTIONS]

  --kills N        SIGKILLs under load, and half as many under requests of the API (200; 0: none)
  --images N       images of a loss of power (24; 0: none)
  --outages N      losses of power of a file system (20; 0: none)
  --seed S         of messages, of when to kill, of what a loss of power leaves (from the clock)
  --only PARTS     of acknowledge, power, outages, kills, api, by comma
  --directory DIR  for the relays' files (target/crash)
  --keep           does not remove them afterwards";

/// A part of the harness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// A sync returns before each 250.
    Acknowledge,
    /// Losses of power.
    Power,
    /// Losses of power of a file system.
    Outages,
    /// SIGKILLs.
    Kills,
    /// SIGKILLs under requests of the API.
    Api,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) kills: usize,
    pub(crate) images: usize,
    pub(crate) outages: usize,
    pub(crate) seed: u64,
    pub(crate) parts: Vec<Part>,
    pub(crate) directory: PathBuf,
    pub(crate) keep: bool,
}

impl Options {
    /// None: help was asked for. `seed` is taken when none is given.
    pub(crate) fn parse(args: impl IntoIterator<Item = String>, seed: u64) -> Result<Option<Self>> {
        let mut options = Self {
            kills: 200,
            images: 24,
            outages: 20,
            seed,
            parts: vec![Part::Acknowledge, Part::Power, Part::Outages, Part::Kills, Part::Api],
            directory: PathBuf::from("target/crash"),
            keep: false,
        };
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--kills" => options.kills = value()?.parse().context("--kills")?,
                "--images" => options.images = value()?.parse().context("--images")?,
                "--outages" => options.outages = value()?.parse().context("--outages")?,
                "--seed" => options.seed = value()?.parse().context("--seed")?,
                "--only" => options.parts = value()?.split(',').map(part).collect::<Result<_>>()?,
                "--directory" => options.directory = value()?.into(),
                "--keep" => options.keep = true,
                "--help" | "-h" => return Ok(None),
                _ => bail!("unknown option {arg}\n\n{USAGE}"),
            }
        }
        Ok(Some(options))
    }
}

fn part(name: &str) -> Result<Part> {
    match name {
        "acknowledge" => Ok(Part::Acknowledge),
        "power" => Ok(Part::Power),
        "outages" => Ok(Part::Outages),
        "kills" => Ok(Part::Kills),
        "api" => Ok(Part::Api),
        _ => bail!("{name} is none of acknowledge, power, outages, kills, api"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Option<Options>> {
        Options::parse(words.split_whitespace().map(str::to_owned), 5)
    }

    #[test]
    fn options_are_read_and_mistakes_are_errors() {
        let options = parse("--kills 20 --only kills,power").expect("good").expect("no help");
        assert_eq!((options.kills, options.seed), (20, 5));
        assert_eq!(options.parts, [Part::Kills, Part::Power]);
        assert_eq!(parse("--help").expect("good"), None);
        for bad in ["--kills", "--kills many", "--only tea", "--murder"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
