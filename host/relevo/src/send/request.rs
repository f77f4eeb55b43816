//! The arguments as the body of `POST /emails`.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::cli::SendArgs;

/// Octets of a file or of standard input.
const MAX_FILE: u64 = 64 << 20;

/// The body. Files are read here.
pub(super) fn body(args: &SendArgs) -> anyhow::Result<Value> {
    ensure!(args.template.is_some() || args.variables.is_empty(), "--variable needs --template");
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| {
        let is_empty = match &value {
            Value::Null => true,
            Value::Array(list) => list.is_empty(),
            Value::Object(object) => object.is_empty(),
            _ => false,
        };
        if !is_empty {
            body.insert(name.to_owned(), value);
        }
    };
    put("from", json!(args.from));
    for (name, list) in [("to", &args.to), ("cc", &args.cc), ("bcc", &args.bcc), ("reply_to", &args.reply_to)]
    {
        put(name, json!(list));
    }
    put("subject", json!(args.subject));
    put("text", json!(args.text.as_deref().map(content).transpose()?));
    put("html", json!(args.html.as_deref().map(content).transpose()?));
    if let Some(template) = &args.template {
        put("template", json!({"id": template, "variables": variables(&args.variables)?}));
    }
    put(
        "attachments",
        Value::Array(args.attach.iter().map(|file| attachment(file)).collect::<Result<_, _>>()?),
    );
    put("tags", args.tags.iter().map(|tag| label(tag)).collect());
    put("metadata", Value::Object(texts("--metadata", &args.metadata, '=')?));
    put("headers", Value::Object(texts("--header", &args.headers, ':')?));
    put("scheduled_at", json!(args.at));
    put("expires_at", json!(args.expires));
    put("stream", json!(args.stream));
    put("topic", json!(args.topic));
    if args.no_tracking {
        put("tracking", json!({"opens": false, "clicks": false}));
    }
    if args.enforce_tls {
        put("tls", json!("enforced"));
    }
    if args.dry_run {
        put("dry_run", json!(true));
    }
    Ok(Value::Object(body))
}

/// Text as given; `@FILE` is the text of a file, and `-` that of standard input.
fn content(given: &str) -> anyhow::Result<String> {
    let octets = match (given, given.strip_prefix('@')) {
        ("-", _) => read("standard input", std::io::stdin().lock())?,
        (_, Some(file)) => file_octets(Path::new(file))?,
        (text, None) => return Ok(text.to_owned()),
    };
    String::from_utf8(octets).with_context(|| format!("{given} is not UTF-8"))
}

fn attachment(file: &Path) -> anyhow::Result<Value> {
    let name = file.file_name().with_context(|| format!("{} is not a file", file.display()))?;
    Ok(json!({"filename": name.to_string_lossy(), "content": STANDARD.encode(file_octets(file)?)}))
}

fn file_octets(file: &Path) -> anyhow::Result<Vec<u8>> {
    let opened = std::fs::File::open(file).with_context(|| file.display().to_string())?;
    read(&file.display().to_string(), opened)
}

fn read(name: &str, from: impl Read) -> anyhow::Result<Vec<u8>> {
    let mut octets = Vec::new();
    from.take(MAX_FILE + 1).read_to_end(&mut octets).with_context(|| name.to_owned())?;
    ensure!(octets.len() as u64 <= MAX_FILE, "{name} has more than {MAX_FILE} octets");
    Ok(octets)
}

/// `name` or `name=value`.
fn label(tag: &str) -> Value {
    let (name, value) = tag.split_once('=').unwrap_or((tag, ""));
    json!({"name": name, "value": value})
}

fn texts(option: &str, given: &[String], sign: char) -> anyhow::Result<Map<String, Value>> {
    let mut all = Map::new();
    for entry in given {
        let Some((name, value)) = entry.split_once(sign) else {
            bail!("{option} {entry:?} has no `{sign}` between name and value");
        };
        all.insert(name.trim().to_owned(), json!(value.trim()));
    }
    Ok(all)
}

/// `name=text`, or `name:=JSON`. A dot in a name leads into an object.
fn variables(given: &[String]) -> anyhow::Result<Value> {
    let mut all = Value::Object(Map::new());
    for entry in given {
        let Some((name, value)) = entry.split_once('=') else {
            bail!("--variable {entry:?} has no `=` between name and value");
        };
        let (name, value) = match name.strip_suffix(':') {
            Some(name) => {
                let value = serde_json::from_str(value);
                (name, value.with_context(|| format!("--variable {entry:?} has no JSON behind `:=`"))?)
            }
            None => (name, json!(value)),
        };
        let mut place = &mut all;
        for part in name.split('.') {
            ensure!(!part.is_empty(), "--variable {entry:?} has an empty name");
            let Value::Object(object) = place else {
                bail!("--variable {entry:?} leads into a value that is no object");
            };
            place = object.entry(part).or_insert_with(|| Value::Object(Map::new()));
        }
        *place = value;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, CliCommand};

    fn of(line: &[&str]) -> anyhow::Result<Value> {
        let all = ["relevo", "send", "--from", "a@b.example"].iter().chain(line);
        match Cli::try_parse_from(all)?.command {
            CliCommand::Send(args) => body(&args),
            _ => bail!("another command"),
        }
    }

    #[test]
    fn arguments_become_a_request() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hello.txt");
        std::fs::write(&file, "hello").unwrap();
        let file = file.to_str().unwrap();
        let from_file = format!("@{file}");
        let line = [
            "--to",
            "Ana <c@d.example>",
            "--to",
            "e@f.example",
            "--subject",
            "Hi",
            "--text",
            &from_file,
            "--tag",
            "a=b",
            "--tag",
            "c",
            "--metadata",
            "order=7",
            "--header",
            "X-Order: 7",
            "--at",
            "in 2 hours",
            "--attach",
            file,
            "--stream",
            "marketing",
            "--no-tracking",
            "--enforce-tls",
            "--dry-run",
        ];
        assert_eq!(
            of(&line).unwrap(),
            json!({
                "from": "a@b.example", "to": ["Ana <c@d.example>", "e@f.example"], "subject": "Hi", "text": "hello",
                "tags": [{"name": "a", "value": "b"}, {"name": "c", "value": ""}], "metadata": {"order": "7"},
                "headers": {"X-Order": "7"}, "scheduled_at": "in 2 hours", "stream": "marketing",
                "attachments": [{"filename": "hello.txt", "content": "aGVsbG8="}],
                "tracking": {"opens": false, "clicks": false}, "tls": "enforced", "dry_run": true,
            })
        );
        let line = [
            "--to",
            "c@d.example",
            "--template",
            "welcome",
            "--variable",
            "name=Ana",
            "--variable",
            "order.total:=12.5",
        ];
        assert_eq!(
            of(&line).unwrap()["template"],
            json!({"id": "welcome", "variables": {"name": "Ana", "order": {"total": 12.5}}})
        );
    }

    #[test]
    fn mistakes_are_named_before_anything_is_sent() {
        for (line, said) in [
            (&["--variable", "a=b"][..], "--variable needs --template"),
            (&["--template", "t", "--variable", "a"], "has no `=` between"),
            (&["--template", "t", "--variable", "a:=x"], "has no JSON behind"),
            (&["--template", "t", "--variable", "a=1", "--variable", "a.b=1"], "that is no object"),
            (&["--metadata", "a"], "--metadata \"a\" has no `=`"),
            (&["--text", "@/nonexistent/file"], "/nonexistent/file"),
            (&["--attach", "/"], "is not a file"),
        ] {
            let line = [&["--to", "c@d.example"], line].concat();
            let mistake = of(&line).unwrap_err();
            assert!(format!("{mistake:#}").contains(said), "{mistake:#}");
        }
    }
}
