//! The binary: configuration, command line and wiring; nothing else.

mod api_key;
mod assembly;
mod certificates;
mod check;
mod check_content;
mod classify;
mod cli;
mod client;
mod cluster;
mod config;
mod control;
mod credential;
mod dev;
mod doctor;
mod domain;
mod escape;
mod init;
mod keygen;
mod limits;
mod log;
mod metrics;
mod plugin;
mod plugin_admin;
mod queue;
mod rates;
mod reputation;
mod send;
mod sendmail;
mod serve;
mod shaping;
mod store;
mod store_transfer;
mod suppression;
mod tasks;
mod tls;
mod tls_show;
mod user;
mod validate;

use std::ffi::OsString;
use std::process::ExitCode;

/// A message is a few hundred small allocations, made on one thread and freed on another; what a
/// burst needed is to go back to the system. The C library's allocator is slow at the first and
/// does not do the second. Figures: `tests/bench/README.md`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use clap::Parser;

use crate::cli::{ApiKeyCommand, Cli, CliCommand, CredentialCommand, KeyCommand};

fn main() -> ExitCode {
    limits::use_small_pages();
    let line: Vec<OsString> = std::env::args_os().collect();
    if let Some(arguments) = sendmail::arguments_of(&line) {
        return sendmail::run(arguments);
    }
    let outcome = match Cli::parse().command {
        CliCommand::Dev(args) => dev::run(&args),
        CliCommand::Serve { config } => serve::run(&config),
        CliCommand::Check { config } => check::run(&config),
        CliCommand::Doctor(args) => doctor::run(&args),
        CliCommand::Init(args) => init::run(&args),
        CliCommand::CheckContent(args) => check_content::run(&args),
        CliCommand::Validate(args) => validate::run(&args),
        CliCommand::Reputation { command } => reputation::run(&command),
        CliCommand::Send(args) => send::run(&args),
        CliCommand::Sendmail { arguments } => Ok(sendmail::run(&arguments)),
        CliCommand::Classify(args) => classify::run(&args),
        CliCommand::Queue(args) => queue::run(&args),
        CliCommand::Suppression(args) => suppression::run(&args),
        CliCommand::Shaping(args) => shaping::run(&args),
        CliCommand::Warmup(args) => shaping::warmup(&args),
        CliCommand::Tls(args) => tls_show::run(&args),
        CliCommand::Cluster(args) => cluster::run(&args),
        CliCommand::Shard(args) => cluster::run_shard(&args),
        CliCommand::Store(args) => store_transfer::run(&args),
        CliCommand::Plugin(args) => plugin::run(&args),
        CliCommand::PluginCompile { parent, memory, seconds, component, out } => {
            plugin::compile(&component, &out, memory, seconds, parent)
        }
        CliCommand::Key { command: KeyCommand::Generate(args) } => keygen::run(&args),
        CliCommand::Credential { command: CredentialCommand::New(args) } => credential::new_password(&args),
        CliCommand::ApiKey { command: ApiKeyCommand::New { name } } => credential::new_api_key(&name),
        CliCommand::ApiKey { command } => api_key::run(&command),
        CliCommand::User { command } => user::run(&command),
        CliCommand::Domain { command } => domain::run(&command),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            log::say(&format!("relevo: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
