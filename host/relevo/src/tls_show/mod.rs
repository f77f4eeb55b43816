//! `relevo tls show`: what TLS mail to a domain needs, and what its hosts show.

mod handshake;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use relevo_mailkit::address::to_ascii;
use relevo_relay::clock::{Clock as _, SystemClock};
use relevo_resolve::secure::{DaneHost, DaneState};
use relevo_resolve::{MailHost, MailRoute};
use relevo_smtp::client::{TlsPolicy, TlsRequirement};
use relevo_store::{ControlStore, StoreUrl};
use relevo_tls::decision::HostDecision;
use relevo_tls::domain::{DomainPlan, presented};
use relevo_tls::mta_sts::{StsAnswer, StsMode};
use serde_json::{Value, json};

use crate::assembly::domain_policies;
use crate::cli::{TlsArgs, TlsCommand};
use crate::client::print_json;
use crate::config;
use crate::escape::Escaped;
use crate::{serve, store};

use handshake::Handshake;

/// Asks and prints.
pub(crate) fn run(args: &TlsArgs) -> anyhow::Result<ExitCode> {
    store::run(shown(args))
}

async fn shown(args: &TlsArgs) -> anyhow::Result<ExitCode> {
    let TlsCommand::Show { domain, offline } = &args.command;
    let loaded = config::load(&args.config);
    for mistake in &loaded.mistakes {
        eprintln!("error: {mistake}");
    }
    let Some(config) = loaded.config else { bail!("{} has mistakes", args.config.display()) };
    let (settings, parts) = config.split();
    let domain = to_ascii(domain).ok().with_context(|| format!("{domain} is not a domain name"))?;
    // A store that was never made is not made here.
    let temporary = tempfile::tempdir()?;
    let url = match &parts.store {
        StoreUrl::File(path) if !path.exists() => StoreUrl::File(temporary.path().join("control.sqlite")),
        url => url.clone(),
    };
    let store = Arc::new(ControlStore::open(&url).await.context("the store cannot be opened")?);
    let resolve = serve::published(&parts, &settings)?;
    let port = settings.delivery.port;
    let policies = domain_policies(&parts, port, resolve.clone(), store.clone(), Arc::default())?;
    let route = resolve.route(&domain).await?;
    let hosts: Vec<&str> = route.hosts.iter().map(|host| host.name.as_str()).collect();
    let plan = policies.plan(&domain, &hosts, false, SystemClock::new().now()).await;
    let shakes = if *offline { Vec::new() } else { handshake::all(&parts, &route, &plan, port).await? };
    store.close().await;
    let answer = described(&domain, &route, &plan, &shakes);
    if args.json {
        print_json(&answer)?;
    } else {
        print(&answer);
    }
    let is_refused = hosts.iter().all(|host| matches!(plan.of(host), Some(HostDecision::Refuse { .. })));
    Ok(if is_refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn described(domain: &str, route: &MailRoute, plan: &DomainPlan, shakes: &[Handshake]) -> Value {
    let host = |(position, host): (usize, &MailHost)| {
        let (needs, why) = match plan.of(&host.name) {
            Some(HostDecision::Connect(needed)) => (mode(needed), needed.reason.in_words().to_owned()),
            Some(HostDecision::Refuse { detail, .. }) => ("refused", detail.clone()),
            None => ("refused", "not a host of the domain".to_owned()),
        };
        json!({
            "host": host.name,
            "needs": needs,
            "why": why,
            "dane": plan.dane(&host.name).map(dane),
            "handshake": shakes.get(position).map(|shake| &shake.words),
            "certificates": shakes.get(position).map(|shake| &shake.chain),
        })
    };
    let hosts: Vec<Value> = route.hosts.iter().enumerate().map(host).collect();
    json!({ "domain": domain, "mta_sts": plan.sts().map(sts), "hosts": hosts })
}

fn mode(needed: &TlsRequirement) -> &'static str {
    match needed.mode {
        TlsPolicy::None => "none",
        TlsPolicy::Opportunistic => "opportunistic",
        TlsPolicy::Required => "required",
        TlsPolicy::Verified => "verified",
        TlsPolicy::Implicit => "implicit",
    }
}

fn dane(dane: &DaneHost) -> Value {
    match &dane.state {
        DaneState::NotApplicable(why) => json!({ "state": "not applicable", "why": format!("{why:?}") }),
        DaneState::Records(records) => {
            let records: Vec<String> = records.iter().map(presented).collect();
            json!({ "state": "records", "base": dane.base, "names": dane.names, "records": records })
        }
        DaneState::Unusable => json!({ "state": "unusable", "base": dane.base }),
        DaneState::Defer(why) => json!({ "state": "deferred", "why": why.to_string() }),
    }
}

fn sts(sts: &StsAnswer) -> Value {
    let mode = sts.policy.as_ref().map(|policy| match policy.mode {
        StsMode::Enforce => "enforce",
        StsMode::Testing => "testing",
        StsMode::None => "none",
    });
    json!({
        "mode": mode,
        "mx": sts.policy.as_ref().map(|policy| &policy.mx),
        "max_age": sts.policy.as_ref().map(|policy| policy.max_age.as_secs()),
        "failure": sts.failure.as_ref().map(ToString::to_string),
    })
}

fn print(answer: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| {
        value.as_array().map(|list| list.iter().map(text).collect::<Vec<_>>().join(", ")).unwrap_or_default()
    };
    let sts = &answer["mta_sts"];
    match (sts["mode"].as_str(), sts["failure"].as_str()) {
        (Some(mode), _) => println!("MTA-STS: {mode}, for {}", Escaped(&list(&sts["mx"]))),
        (None, Some(failure)) => println!("MTA-STS: no policy: {}", Escaped(failure)),
        (None, None) => println!("MTA-STS: no policy"),
    }
    for host in answer["hosts"].as_array().into_iter().flatten() {
        println!(
            "{}: {} ({})",
            Escaped(&text(&host["host"])),
            text(&host["needs"]),
            Escaped(&text(&host["why"]))
        );
        let dane = &host["dane"];
        if let Some(state) = dane["state"].as_str() {
            let more = dane["why"].as_str().map(str::to_owned).unwrap_or_else(|| list(&dane["records"]));
            println!("  DANE: {state} {}", Escaped(&more));
        }
        if let Some(shake) = host["handshake"].as_str() {
            println!("  handshake: {}", Escaped(shake));
        }
        for certificate in host["certificates"].as_array().into_iter().flatten() {
            println!(
                "  certificate: {} (names {}; issuer {}; ends {}; TLSA x 1 1 {})",
                Escaped(&text(&certificate["subject"])),
                Escaped(&list(&certificate["names"])),
                Escaped(&text(&certificate["issuer"])),
                text(&certificate["not_after"]),
                text(&certificate["tlsa_1_1"]),
            );
        }
    }
}
