//! Requests and answers.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use url::Url;

use crate::connect::{Connection, connect};
use crate::{FetchError, Fetcher};

/// Octets of the header of an answer.
const MAX_HEADER: usize = 32 * 1024;

/// Methods that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// POST.
    Post,
}

/// A request.
#[derive(Debug, Clone)]
pub struct FetchRequest {
    /// The method.
    pub method: Method,
    /// `https://host[:port]/path`, or `http` where [`FetchLimits::clear`] allows it.
    pub url: String,
    /// Names and values. A name that is given again replaces the first; `User-Agent` may be given. `Host`,
    /// `Content-Length` and what else frames the message are the client's: to give them is an error.
    pub headers: Vec<(String, String)>,
    /// The body; empty for GET.
    pub body: Vec<u8>,
}

/// Bounds of one request.
#[derive(Debug, Clone, Copy)]
pub struct FetchLimits {
    /// From the lookup to the last octet of the answer.
    pub time: Duration,
    /// Octets of the answer's body.
    pub body: usize,
    /// A larger body is cut; otherwise it is an error.
    pub cut: bool,
    /// `http` is allowed.
    pub clear: bool,
}

/// An answer, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchResponse {
    /// Status code.
    pub status: u16,
    /// Names in lower case and values, in the order in which they came.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl FetchResponse {
    /// The first value of a field.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Reads a URL that requests may be sent to.
pub(crate) fn usable(url: &str, clear: bool) -> Result<Url, FetchError> {
    let url = Url::parse(url).map_err(|error| FetchError::Url(error.to_string()))?;
    match url.scheme() {
        "https" => {}
        "http" if clear => {}
        "http" => return Err(FetchError::Url("it must be https".to_owned())),
        other => return Err(FetchError::Url(format!("{other} is not https"))),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(FetchError::Url("it must have no user and no password".to_owned()));
    }
    Ok(url)
}

pub(crate) async fn send(
    fetcher: &Fetcher,
    request: FetchRequest,
    limits: FetchLimits,
) -> Result<FetchResponse, FetchError> {
    let url = usable(&request.url, limits.clear)?;
    // Before anything is connected: what cannot be sent costs the host nothing.
    let message = message(request, &url)?;
    match connect(fetcher, &url).await? {
        Connection::Clear(stream) => exchange(stream, message, limits).await,
        Connection::Tls(stream) => exchange(*stream, message, limits).await,
    }
}

fn message(request: FetchRequest, url: &Url) -> Result<hyper::Request<Full<Bytes>>, FetchError> {
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let authority = match (url.host(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_string(),
        (None, _) => return Err(FetchError::Url("it names no host".to_owned())),
    };
    let method = match request.method {
        Method::Get => hyper::Method::GET,
        Method::Post => hyper::Method::POST,
    };
    let mut message = hyper::Request::builder()
        .method(method)
        .uri(target)
        .body(Full::new(Bytes::from(request.body)))
        .map_err(|error| FetchError::Url(error.to_string()))?;
    let headers = message.headers_mut();
    let host = HeaderValue::from_str(&authority).map_err(|_| FetchError::Header("host".to_owned()))?;
    headers.insert(HOST, host);
    headers.insert(USER_AGENT, HeaderValue::from_static("Relevo"));
    for (name, value) in &request.headers {
        let unusable = || FetchError::Header(name.clone());
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unusable())?;
        if matches!(key.as_str(), "host" | "content-length" | "transfer-encoding" | "connection" | "upgrade")
        {
            return Err(unusable());
        }
        headers.insert(key, HeaderValue::from_str(value).map_err(|_| unusable())?);
    }
    Ok(message)
}

async fn exchange<S>(
    stream: S,
    message: hyper::Request<Full<Bytes>>,
    limits: FetchLimits,
) -> Result<FetchResponse, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| FetchError::Broken(error.to_string());
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEADER)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let exchange = async move {
        let response = sender.send_request(message).await.map_err(broken)?;
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect();
        let mut body = response.into_body();
        let mut octets = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            let room = limits.body.saturating_sub(octets.len());
            if data.len() > room {
                if !limits.cut {
                    return Err(FetchError::TooLarge(limits.body));
                }
                octets.extend_from_slice(&data[..room]);
                break;
            }
            octets.extend_from_slice(&data);
        }
        Ok(FetchResponse { status, headers, body: octets })
    };
    // The connection is driven here, so that it ends with the request.
    let mut exchange = std::pin::pin!(exchange);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        biased;
        result = &mut exchange => return result,
        ended = &mut connection => ended,
    };
    match ended {
        Ok(()) => exchange.await,
        // An answer that came whole counts, whatever broke behind it. What has not come by now never will.
        Err(error) => tokio::select! {
            biased;
            result = exchange => result,
            () = std::future::ready(()) => Err(broken(error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use tokio::io::ReadBuf;

    use super::*;

    /// Answers what is written with fixed octets and the end, and cannot be shut down.
    struct Breaking {
        answer: &'static [u8],
        is_written: bool,
        reader: Option<Waker>,
    }

    impl AsyncRead for Breaking {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if !self.is_written {
                self.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let answer = self.answer;
            let (now, later) = answer.split_at(answer.len().min(buf.remaining()));
            buf.put_slice(now);
            self.answer = later;
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Breaking {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.is_written = true;
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }
    }

    async fn answered(answer: &'static str) -> Result<FetchResponse, FetchError> {
        let url = usable("https://a.example.com/", false)?;
        let request =
            FetchRequest { method: Method::Get, url: String::new(), headers: Vec::new(), body: Vec::new() };
        let stream = Breaking { answer: answer.as_bytes(), is_written: false, reader: None };
        let limits = FetchLimits { time: Duration::from_secs(20), body: 100, cut: false, clear: false };
        exchange(stream, message(request, &url)?, limits).await
    }

    #[tokio::test]
    async fn an_answer_counts_if_it_is_whole() {
        let whole = answered("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello").await;
        assert_eq!(whole.expect("an answer").body, b"hello");
        for part in ["", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"] {
            let error = answered(part).await.expect_err("not whole");
            assert!(matches!(error, FetchError::Broken(_)), "{part:?}: {error}");
        }
    }
}
