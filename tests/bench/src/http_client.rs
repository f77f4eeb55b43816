//! A client of the HTTP API: one connection that is kept, one request after another.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A server that leaves a client waiting for longer does not answer any more.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection.
pub struct HttpClient {
    stream: BufReader<TcpStream>,
}

/// An answer.
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl HttpClient {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens.
    pub async fn connect(to: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(to).await.context("the relay's HTTP port")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// A POST of JSON with an API key and more header fields.
    ///
    /// # Errors
    /// The connection ended, or no answer came: whether the request was accepted is then not known.
    pub async fn post(
        &mut self,
        path: &str,
        key: &str,
        fields: &[(&str, &str)],
        json: &[u8],
    ) -> Result<HttpAnswer> {
        self.send("POST", path, key, fields, json).await
    }

    /// A PATCH of JSON with an API key.
    ///
    /// # Errors
    /// As for [`Self::post`].
    pub async fn patch(&mut self, path: &str, key: &str, json: &[u8]) -> Result<HttpAnswer> {
        self.send("PATCH", path, key, &[], json).await
    }

    async fn send(
        &mut self,
        method: &str,
        path: &str,
        key: &str,
        fields: &[(&str, &str)],
        json: &[u8],
    ) -> Result<HttpAnswer> {
        let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer {key}\r\n\
             {fields}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            json.len()
        );
        self.ask(&[head.as_bytes(), json].concat()).await
    }

    /// A GET at a host with an API key.
    ///
    /// # Errors
    /// As for [`Self::post`].
    pub async fn get(&mut self, host: &str, path: &str, key: &str) -> Result<HttpAnswer> {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\r\n");
        self.ask(head.as_bytes()).await
    }

    async fn ask(&mut self, request: &[u8]) -> Result<HttpAnswer> {
        self.stream.get_mut().write_all(request).await?;
        timeout(PATIENCE, self.answer()).await.with_context(|| format!("no answer within {PATIENCE:?}"))?
    }

    async fn answer(&mut self) -> Result<HttpAnswer> {
        let first = self.line().await?;
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.with_context(|| format!("no status: {first:?}"))?;
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                break;
            }
            let Some((name, value)) = line.split_once(':') else { continue };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().context("Content-Length")?;
            }
            chunked |= name.eq_ignore_ascii_case("transfer-encoding");
        }
        if chunked {
            return Ok(HttpAnswer { status, body: self.chunks().await? });
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok(HttpAnswer { status, body })
    }

    async fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(self.line().await?.trim(), 16).context("the size of a chunk")?;
            let start = body.len();
            body.resize(start + size, 0);
            self.stream.read_exact(&mut body[start..]).await?;
            self.line().await?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.stream.read_line(&mut line).await? > 0, "the server closed a connection");
        Ok(line.trim_end().to_owned())
    }
}
