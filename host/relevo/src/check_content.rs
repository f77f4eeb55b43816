//! `relevo check-content`: a look at the content of a message before it is sent.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use relevo_http::ContentCheckView;
use relevo_relay::inspection::{ContentInspection, ContentOptions, MAX_MESSAGE};
use relevo_relay::sandbox::Sandbox;
use relevo_runtime::{Runtime, RuntimeConfig};

use crate::classify::component_cache;
use crate::cli::CheckContentArgs;
use crate::escape::Escaped;
use crate::{assembly, client, config, serve, store};

/// Prints the findings. A failure if one of them is an error.
pub(crate) fn run(args: &CheckContentArgs) -> anyhow::Result<ExitCode> {
    let message = read(args)?;
    let size = message.len();
    let inspection = store::run(async {
        let options = ContentOptions { marketing: args.marketing };
        Ok(open(args)?.inspect("", message, options).await?)
    })?;
    let view = ContentCheckView::of(size, inspection);
    if args.json {
        client::print_json(&serde_json::to_value(&view)?)?;
    } else {
        view.lines().iter().for_each(|line| println!("{}", Escaped(line)));
        if view.lines().is_empty() {
            println!("nothing was found");
        }
    }
    Ok(if view.has_errors() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The message with CRLF line ends, as it travels.
fn read(args: &CheckContentArgs) -> anyhow::Result<Vec<u8>> {
    let input: Box<dyn Read> = match args.file.as_os_str() == "-" {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(&args.file).with_context(|| args.file.display().to_string())?),
    };
    let mut octets = Vec::new();
    input.take(MAX_MESSAGE as u64 + 1).read_to_end(&mut octets)?;
    ensure!(octets.len() <= MAX_MESSAGE, "the message has more than {MAX_MESSAGE} octets");
    let mut message = Vec::with_capacity(octets.len());
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(text) => {
                message.extend_from_slice(text.strip_suffix(b"\r").unwrap_or(text));
                message.extend_from_slice(b"\r\n");
            }
            None => message.extend_from_slice(line),
        }
    }
    Ok(message)
}

/// The look at content; with the spam filters of a configuration if one is named.
fn open(args: &CheckContentArgs) -> anyhow::Result<ContentInspection> {
    let Some(file) = &args.config else {
        return Ok(ContentInspection::new(sandbox(component_cache(None))?));
    };
    let loaded = config::load(file);
    loaded.mistakes.iter().for_each(|mistake| eprintln!("error: {mistake}"));
    let Some(config) = loaded.config else { bail!("the configuration has mistakes") };
    let (settings, parts) = config.split();
    let sandbox = sandbox(component_cache(Some(&parts.data_dir)))?;
    assembly::inspection_with(&parts, sandbox, serve::published(&parts, &settings)?)
}

fn sandbox(cache_dir: Option<PathBuf>) -> anyhow::Result<Sandbox> {
    let config = RuntimeConfig { cache_dir, calls: 1, ..RuntimeConfig::default() };
    Ok(Sandbox::new(Runtime::new(config)?))
}
