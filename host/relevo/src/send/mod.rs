//! `relevo send`: one message by the HTTP API, for people.

mod request;
mod resolver;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use relevo_fetch::{FetchError, FetchLimits, FetchRequest, FetchResponse, Fetcher, Method};
use rustls::RootCertStore;
use serde_json::Value;

use self::resolver::SystemResolver;
use crate::cli::SendArgs;
use crate::client::print_json;
use crate::escape::Escaped;

/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(120);
/// Octets of an answer.
const MAX_ANSWER: usize = 4 << 20;

/// Sends what the arguments say and prints the ids.
pub(crate) fn run(args: &SendArgs) -> anyhow::Result<ExitCode> {
    let key = api_key(args.key_file.as_deref())?;
    let body = request::body(args)?;
    let base = api_url(args.url.as_deref());
    let mut headers = headers(&key, "application/json");
    if let Some(key) = &args.idempotency_key {
        headers.push(("Idempotency-Key".to_owned(), key.clone()));
    }
    let request = FetchRequest {
        method: Method::Post,
        url: format!("{base}/emails"),
        headers,
        body: serde_json::to_vec(&body)?,
    };
    let answer = answered(request).map_err(|error| match error {
        FetchError::Broken(_) | FetchError::Timeout(_) | FetchError::TooLarge(_) => anyhow::anyhow!(
            "{error}: whether the message was accepted is not known. With --idempotency-key it can be sent again \
             without being sent twice"
        ),
        error => error.into(),
    })?;
    let value = document(&base, &answer)?;
    if args.json {
        print_json(&value)?;
    } else {
        print(&value);
    }
    Ok(ExitCode::SUCCESS)
}

/// A request to the API of a relay: path, method, type of the body, body. Returns its answer.
///
/// # Errors
/// There is no key or no relay, or the API refuses: in its words.
pub(crate) fn call(
    url: Option<&str>,
    key_file: Option<&Path>,
    (path, method, kind, body): (&str, Method, &str, Vec<u8>),
) -> anyhow::Result<Value> {
    let (base, key) = (api_url(url), api_key(key_file)?);
    let request = FetchRequest { method, url: format!("{base}{path}"), headers: headers(&key, kind), body };
    document(&base, &answered(request)?)
}

fn document(base: &str, answer: &FetchResponse) -> anyhow::Result<Value> {
    let value: Value = serde_json::from_slice(&answer.body).with_context(|| {
        let text = String::from_utf8_lossy(&answer.body);
        format!("{base} answered {} without JSON: {}", answer.status, Escaped(text.trim()))
    })?;
    if !(200..300).contains(&answer.status) {
        bail!("{}", mistake(&value, answer.status));
    }
    Ok(value)
}

/// Without a final slash.
fn api_url(url: Option<&str>) -> String {
    let variable = || std::env::var("RELEVO_URL").ok().filter(|url| !url.is_empty());
    let url = url.map(str::to_owned).or_else(variable).unwrap_or_else(|| "http://127.0.0.1:8025".to_owned());
    url.trim_end_matches('/').to_owned()
}

fn api_key(file: Option<&Path>) -> anyhow::Result<String> {
    let key = match (file, std::env::var("RELEVO_API_KEY").ok()) {
        (Some(file), _) => std::fs::read_to_string(file).with_context(|| file.display().to_string())?,
        (None, Some(key)) => key,
        (None, None) => bail!(
            "an API key is needed: in the environment as RELEVO_API_KEY, or in a file that --key-file names"
        ),
    };
    let key = key.trim().to_owned();
    ensure!(!key.is_empty(), "the API key is empty");
    Ok(key)
}

fn headers(key: &str, kind: &str) -> Vec<(String, String)> {
    vec![("Authorization".to_owned(), format!("Bearer {key}")), ("Content-Type".to_owned(), kind.to_owned())]
}

fn answered(request: FetchRequest) -> Result<FetchResponse, FetchError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    // The user chose the URL: it may lead anywhere.
    let anywhere = ["0.0.0.0/0", "::/0"].iter().filter_map(|network| network.parse().ok()).collect();
    let broken = |error: String| FetchError::Broken(error);
    let fetcher =
        Fetcher::new(Arc::new(SystemResolver), roots, anywhere).map_err(|error| broken(error.to_string()))?;
    let limits = FetchLimits { time: PATIENCE, body: MAX_ANSWER, clear: true, cut: false };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| broken(error.to_string()))?;
    runtime.block_on(fetcher.send(request, limits))
}

/// The API's words: every mistake with its place.
fn mistake(answer: &Value, status: u16) -> String {
    let text = |value: &Value, name: &str| value[name].as_str().map(|text| Escaped(text).to_string());
    let one = |value: &Value| {
        let message = text(value, "message").unwrap_or_else(|| "no reason was given".to_owned());
        match text(value, "param") {
            Some(param) => format!("{param}: {message}"),
            None => message,
        }
    };
    let name = text(answer, "name").unwrap_or_else(|| "refused".to_owned());
    let several = answer["errors"].as_array().filter(|all| !all.is_empty());
    let said = match several {
        Some(all) => all.iter().map(one).collect::<Vec<_>>().join("\n  "),
        None => one(answer),
    };
    format!("{status} {name}\n  {said}")
}

/// The id, and a line for each recipient.
fn print(answer: &Value) {
    let text = |value: &Value, name: &str| Escaped(value[name].as_str().unwrap_or_default()).to_string();
    println!("{}", text(answer, "id"));
    for recipient in answer["recipients"].as_array().into_iter().flatten() {
        let mut line = format!("  {} {}", text(recipient, "email"), text(recipient, "status"));
        for name in ["id", "delivery_id", "reason"] {
            if recipient[name].is_string() {
                line.push(' ');
                line.push_str(&text(recipient, name));
            }
        }
        println!("{line}");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn mistakes_are_shown_with_their_places() {
        let one =
            json!({"statusCode": 422, "name": "validation_error", "message": "is missing", "param": "from"});
        assert_eq!(mistake(&one, 422), "422 validation_error\n  from: is missing");
        let none = json!({});
        assert_eq!(mistake(&none, 500), "500 refused\n  no reason was given");
        let two = json!({"name": "validation_error", "message": "x", "errors": [
            {"param": "to[0]", "message": "a\u{1b}"}, {"message": "b"}]});
        assert!(mistake(&two, 422).starts_with("422 validation_error\n  to[0]: a"));
        assert!(!mistake(&two, 422).contains('\u{1b}'));
    }
}
