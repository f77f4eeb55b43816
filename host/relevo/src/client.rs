//! The other end of the control socket: asks a running relay.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::cli::RelayArgs;
use crate::control::{self, ControlRequest};
use crate::escape::Escaped;

/// Compiling a large component beside mail takes minutes, and others may be before it.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// A running relay.
pub(crate) struct Relay {
    read: BufReader<UnixStream>,
    write: UnixStream,
}

impl Relay {
    pub(crate) fn connect(args: &RelayArgs) -> anyhow::Result<Self> {
        let path = control::socket_path(&data_dir(args)?);
        let stream = UnixStream::connect(&path).map_err(|error| {
            let path = path.display();
            let why = match error.kind() {
                ErrorKind::PermissionDenied => {
                    format!("{path} is not yours: run this as the relay's user or root")
                }
                _ => format!("no relay answers on {path}: is it running?"),
            };
            anyhow::Error::from(error).context(why)
        })?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { read: BufReader::new(stream.try_clone()?), write: stream })
    }

    pub(crate) fn ask(&mut self, request: &ControlRequest) -> anyhow::Result<Value> {
        self.ask_with(request, &[])
    }

    /// With content that the request announces.
    pub(crate) fn ask_with(&mut self, request: &ControlRequest, content: &[u8]) -> anyhow::Result<Value> {
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        self.write.write_all(line.as_bytes())?;
        // Content that is not wanted is not read to its end: the answer says why.
        let _ = self.write.write_all(content);
        let mut answer = String::new();
        self.read.read_line(&mut answer).context("the relay did not answer")?;
        if answer.is_empty() {
            bail!(
                "the relay has ended before it answered: whether it did what was asked, `list` says when it runs again"
            );
        }
        let mut answer: Value = serde_json::from_str(&answer).context("the relay's answer is not JSON")?;
        if let Some(error) = answer.get("error").and_then(Value::as_str) {
            bail!("{}", Escaped(error));
        }
        Ok(answer["ok"].take())
    }
}

/// Whether an error of [`Relay::connect`] says that no relay runs there, as far as this user may
/// know.
pub(crate) fn is_down(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|io| io.kind() != ErrorKind::PermissionDenied)
}

pub(crate) fn data_dir(args: &RelayArgs) -> anyhow::Result<PathBuf> {
    if let Some(data) = &args.data {
        return Ok(data.clone());
    }
    let Some(file) = &args.config else {
        bail!("name the relay: --config relevo.toml, or --data with its data directory");
    };
    crate::config::data_dir(file)
}

pub(crate) fn print_json(value: &Value) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}
