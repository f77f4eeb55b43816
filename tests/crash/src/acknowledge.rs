//! Twenty messages one after the other under a tracer: what each 250 promises was synced before it
//! was written.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use relevo_bench::load::Client;
use relevo_bench::relay::{Launch, NextHop, Relay, Setup, free_port};

use crate::mail::{Mail, marker};
use crate::synced::{acknowledgements, prove};
use crate::tracer;

const MESSAGES: u64 = 20;

/// Octets beyond which a body has a file of its own.
const INLINE: usize = 64 << 10;

/// Runs it and prints a line for each message.
///
/// # Errors
/// A 250 without a sync before it, or no trace.
pub(crate) fn run(binary: &Path, directory: &Path) -> Result<()> {
    let data = directory.join("data");
    let setup = Setup { binary, directory, next_hop: NextHop::Smarthost(free_port()?), retry: "1h" };
    let to = directory.join("strace");
    let launch = Launch { under: tracer::all_calls(&to), ..Launch::default() };
    let mut relay = Relay::launch(&setup, &launch)?;
    relay.wait_until_it_listens()?;
    let mails = mails();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut client = Client::connect(relay.smtp).await?;
        for mail in &mails {
            client.transaction(&mail.sender, &mail.recipients, &mail.stuffed(), || ()).await?;
        }
        client.quit().await;
        anyhow::Ok(())
    })?;
    relay.stop()?;
    let calls = tracer::read(&to)?;
    let said = acknowledgements(&calls);
    ensure!(
        said.len() == mails.len(),
        "{} messages, {} acknowledgements in the trace",
        mails.len(),
        said.len()
    );
    println!(
        "message  octets  content in   written synced | index written synced | 250 (lines of the trace)"
    );
    for (mail, said) in mails.iter().zip(said) {
        let proof = prove(&calls, &data, marker(mail.serial).as_bytes(), said);
        let proof = proof.with_context(|| format!("message {}", mail.serial))?;
        let folder = proof.file.parent().and_then(Path::file_name).unwrap_or_default();
        println!(
            "{:>7} {:>7}  {:<10} {:>9} {:>6} | {:>13} {:>6} | {}",
            mail.serial,
            mail.content.len(),
            folder.to_string_lossy(),
            proof.body.0,
            proof.body.1,
            proof.index.0,
            proof.index.1,
            proof.acknowledged
        );
    }
    Ok(())
}

/// A sync of the store fails: from then on there is no 250, though every later sync would succeed.
///
/// # Errors
/// There is one.
pub(crate) fn failed_sync(binary: &Path, directory: &Path) -> Result<()> {
    /// Of the writer thread: some messages are accepted before.
    const NTH: u32 = 12;
    let setup = Setup { binary, directory, next_hop: NextHop::Smarthost(free_port()?), retry: "1h" };
    let to = directory.join("strace");
    let launch = Launch { under: tracer::fail_sync(&to, NTH), ..Launch::default() };
    let mut relay = Relay::launch(&setup, &launch)?;
    relay.wait_until_it_listens()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut accepted, mut refused) = (0, 0);
    for mail in mails() {
        let sent = runtime.block_on(async {
            let mut client = Client::connect(relay.smtp).await?;
            client.transaction(&mail.sender, &mail.recipients, &mail.stuffed(), || ()).await.map(drop)
        });
        match sent {
            Ok(()) => accepted += 1,
            Err(_) => refused += 1,
        }
    }
    relay.kill()?;
    let calls = tracer::read(&to)?;
    let failed = calls.iter().find(|c| c.name == "fdatasync" && c.result.is_some_and(|r| r < 0));
    let failed = failed.context("no sync failed")?.ended;
    let after = acknowledgements(&calls).iter().filter(|said| said.at > failed).count();
    println!("a sync that fails: {accepted} messages accepted before it, {refused} refused after it");
    ensure!(accepted > 0 && refused > 0, "the failure did not come in between");
    ensure!(after == 0, "{after} messages were acknowledged after a sync had failed");
    Ok(())
}

/// Half of them small, half large.
fn mails() -> Vec<Mail> {
    let all = || (1..).map(|serial| Mail::new(1, serial, |_| "ok0.test".to_owned()));
    let half = usize::try_from(MESSAGES / 2).unwrap_or_default();
    let large = all().filter(|m| m.content.len() > INLINE).take(half);
    let small = all().filter(|m| m.content.len() < INLINE / 2).take(half);
    small.zip(large).flat_map(|(small, large)| [small, large]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_messages_take_turns() {
        let mails = mails();
        assert_eq!(mails.len(), 20);
        assert_eq!(mails.iter().filter(|m| m.content.len() > INLINE).count(), 10);
    }
}
