//! `relevo validate`: what can be said of addresses before anything is sent to them.

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use async_trait::async_trait;
use relevo_http::ValidationView;
use relevo_mailkit::address::Address;
use relevo_relay::clock::SystemClock;
use relevo_relay::suppressions::{SuppressionError, canonical};
use relevo_relay::validation::{AddressHistory, AddressValidation, History, Validation, suppressed_before};
use relevo_resolve::{HickoryResolver, Resolve, ResolverConfig};
use relevo_store::{ControlStore, SuppressionStore as _};

use crate::cli::ValidateArgs;
use crate::escape::Escaped;
use crate::{assembly, config, serve, store};

/// Addresses that are looked up at once.
const CHUNK: usize = 1_000;
/// Octets of a line of standard input.
const MAX_LINE: usize = 4_096;

/// The history of a command: the list of a tenant, if one is named.
struct ListedOnly {
    store: Option<Arc<ControlStore>>,
}

#[async_trait]
impl AddressHistory for ListedOnly {
    async fn history(&self, tenant: &str, address: &Address) -> Result<History, SuppressionError> {
        let (Some(store), Ok(address)) = (&self.store, canonical(&address.to_string())) else {
            return Ok(History::default());
        };
        let entries = store.suppressions_of(tenant, &address).await?;
        Ok(History { suppressed: suppressed_before(&entries), bounced: None })
    }
}

/// Prints an answer for each address. Success when all could be asked about, whatever the answers.
pub(crate) fn run(args: &ValidateArgs) -> anyhow::Result<ExitCode> {
    store::run(async {
        let validation = open(args).await?;
        let tenant = args.tenant.as_deref().unwrap_or_default();
        let mut waiting = Vec::new();
        for address in &args.addresses {
            match address.as_str() {
                "-" => read_lines(&validation, tenant, args.json, &mut waiting).await?,
                address => waiting.push(address.to_owned()),
            }
        }
        answer(&validation, tenant, args.json, &mut waiting).await
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn open(args: &ValidateArgs) -> anyhow::Result<AddressValidation> {
    let (resolve, store): (Arc<dyn Resolve>, _) = match &args.config {
        None => {
            let resolver = HickoryResolver::new(ResolverConfig::default());
            (Arc::new(resolver.context("the system names no DNS servers")?), None)
        }
        Some(file) => {
            let loaded = config::load(file);
            loaded.mistakes.iter().for_each(|mistake| eprintln!("error: {mistake}"));
            let Some(config) = loaded.config else { bail!("the configuration has mistakes") };
            let (settings, parts) = config.split();
            let store = match &args.tenant {
                Some(_) => Some(assembly::open_control_store(&parts.store).await?),
                None => None,
            };
            (serve::published(&parts, &settings)?, store)
        }
    };
    let (history, clock) = (Arc::new(ListedOnly { store }), Arc::new(SystemClock::new()));
    Ok(AddressValidation::new(resolve, history, clock, u32::MAX))
}

/// Answers for each line of standard input, in chunks.
async fn read_lines(
    validation: &AddressValidation,
    tenant: &str,
    json: bool,
    waiting: &mut Vec<String>,
) -> anyhow::Result<()> {
    for line in io::stdin().lock().lines() {
        let line = line.context("standard input")?;
        if line.len() > MAX_LINE {
            bail!("a line of standard input has more than {MAX_LINE} octets");
        }
        let address = line.trim();
        if !address.is_empty() {
            waiting.push(address.to_owned());
        }
        if waiting.len() >= CHUNK {
            answer(validation, tenant, json, waiting).await?;
        }
    }
    Ok(())
}

async fn answer(
    validation: &AddressValidation,
    tenant: &str,
    json: bool,
    waiting: &mut Vec<String>,
) -> anyhow::Result<()> {
    let answers = validation.validate(tenant, &std::mem::take(waiting)).await?;
    let mut out = io::stdout().lock();
    for answer in answers {
        match json {
            true => writeln!(out, "{}", serde_json::to_string(&ValidationView::of(answer))?)?,
            false => write_text(&mut out, &answer)?,
        }
    }
    Ok(out.flush()?)
}

fn write_text(out: &mut impl Write, answer: &Validation) -> io::Result<()> {
    let judgement = &answer.judgement;
    let reasons: Vec<&str> = judgement.reasons.iter().map(|reason| reason.name()).collect();
    writeln!(
        out,
        "{}  {}  {}",
        Escaped(answer.candidate.text()),
        judgement.result.name(),
        if reasons.is_empty() { "-".to_owned() } else { reasons.join(",") }
    )?;
    if !judgement.explanation.is_empty() {
        writeln!(out, "    {}", Escaped(&judgement.explanation))?;
    }
    Ok(())
}
