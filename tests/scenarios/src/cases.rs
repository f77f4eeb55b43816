//! Cases as files: `tests/cases/<stage>/<name>/`, see the README there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use relevo_mailkit::model::{
    ContentOptions, Edit, Mailbox, MessageEnvelope, SignatureRequest, TemplateLimits, TemplateSource,
    TrackOptions, Txt, ValidateOptions,
};
use relevo_mailkit::source::{Source, for_each_chunk};
use relevo_mailkit::splice::{Splice, TrackingUrls};
use relevo_runtime::{Stage, Stages};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::render;

/// A directory of case files.
#[derive(Debug, Clone)]
pub struct Case {
    /// Whose case.
    pub stage: Stage,
    /// The directory.
    pub path: PathBuf,
}

/// What a stage makes of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// `expected.txt`.
    pub text: String,
    /// `expected.eml`, where there is a message at the end.
    pub message: Option<Vec<u8>>,
}

impl Case {
    /// The cases of a stage, by name. None when there is no such directory.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub fn all(cases: &Path, stage: Stage) -> Result<Vec<Self>> {
        let directory = cases.join(stage.name());
        if !directory.is_dir() {
            return Ok(Vec::new());
        }
        let mut paths: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths.into_iter().map(|path| Self { stage, path }).collect())
    }

    /// `stage/name`.
    #[must_use]
    pub fn name(&self) -> String {
        let directory = self.path.file_name().unwrap_or_default().to_string_lossy();
        format!("{}/{directory}", self.stage.name())
    }

    /// Gives the case to `stages`. A fault is an outcome too.
    ///
    /// # Errors
    /// Case files that are missing or wrong.
    pub fn run(&self, stages: &dyn Stages) -> Result<Outcome> {
        match self.stage {
            Stage::Validate => self.validate(stages),
            Stage::Track => self.track(stages),
            Stage::Dkim => self.dkim(stages),
            Stage::Template => self.template(stages),
            Stage::Reports => self.reports(stages),
            Stage::Classify => bail!("the cases of classify stand beside its rules"),
            Stage::Content => self.content(stages),
        }
        .with_context(|| self.name())
    }

    fn validate(&self, stages: &dyn Stages) -> Result<Outcome> {
        let options: ValidateOptions = self.options(serde_json::to_value(relevo_validate::defaults())?)?;
        let message = self.message()?;
        Ok(match stages.validate(options, &*message) {
            Err(fault) => Outcome::text(format!("{fault}\n")),
            Ok(Err(refusal)) => Outcome::text(render::refusal(&refusal)),
            Ok(Ok(report)) => Outcome {
                text: render::report(&report),
                message: Some(apply(report.added_headers, &message, report.edits)?),
            },
        })
    }

    fn track(&self, stages: &dyn Stages) -> Result<Outcome> {
        let options: TrackOptions = self.options(serde_json::to_value(track_defaults())?)?;
        let message = self.message()?;
        let report = stages.validate(relevo_validate::defaults(), &*message)?;
        let parts = report.map_err(|refusal| anyhow::anyhow!("refused: {}", refusal.detail))?.parts;
        Ok(match stages.track(options, &parts, &*message) {
            Err(fault) => Outcome::text(format!("{fault}\n")),
            Ok(rewrite) => Outcome {
                text: render::rewrite(&rewrite),
                message: Some(apply(Vec::new(), &message, rewrite.edits)?),
            },
        })
    }

    fn dkim(&self, stages: &dyn Stages) -> Result<Outcome> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Options {
            requests: Option<Vec<SignatureRequest>>,
            records: Option<Vec<Txt>>,
            #[serde(default)]
            now: i64,
        }
        let options: Options = self.json("options.json")?;
        let message = self.message()?;
        let result = match (options.requests, options.records) {
            (Some(requests), None) => {
                stages.signing_input(requests, &*message, options.now).map(|all| render::unsigned(&all))
            }
            (None, Some(records)) => {
                stages.verify(records, &*message, options.now).map(|all| render::verdicts(&all))
            }
            _ => bail!("options.json has either `requests` or `records`"),
        };
        Ok(Outcome::text(result.unwrap_or_else(|fault| format!("{fault}\n"))))
    }

    fn reports(&self, stages: &dyn Stages) -> Result<Outcome> {
        let message = self.message()?;
        let result = stages.read_report(&*message).map(|mail| render::returned(&mail));
        Ok(Outcome::text(result.unwrap_or_else(|fault| format!("{fault}\n"))))
    }

    fn template(&self, stages: &dyn Stages) -> Result<Outcome> {
        let mut source: Value = self.json("source.json")?;
        let limits = source.as_object_mut().and_then(|map| map.remove("limits"));
        let limits: TemplateLimits =
            merged(serde_json::to_value(template_limits())?, limits.unwrap_or_default())?;
        let source: TemplateSource = merged(serde_json::to_value(TemplateSource::default())?, source)?;
        let variables = fs::read_to_string(self.path.join("variables.json")).context("variables.json")?;
        let rendered = match stages.render(source, &variables, limits) {
            Err(fault) => return Ok(Outcome::text(format!("{fault}\n"))),
            Ok(Err(error)) => return Ok(Outcome::text(render::template_error(&error))),
            Ok(Ok(rendered)) => rendered,
        };
        let text = render::rendered(&rendered);
        let envelope: MessageEnvelope = if self.path.join("envelope.json").is_file() {
            merged(serde_json::to_value(envelope())?, self.json("envelope.json")?)?
        } else {
            envelope()
        };
        Ok(match stages.build(envelope, rendered) {
            Err(fault) => Outcome::text(format!("{text}{fault}\n")),
            Ok(Err(error)) => Outcome::text(format!("{text}{}", render::template_error(&error))),
            Ok(Ok(message)) => Outcome { text, message: Some(message) },
        })
    }

    fn content(&self, stages: &dyn Stages) -> Result<Outcome> {
        let options: ContentOptions = self.options(serde_json::to_value(ContentOptions::default())?)?;
        let message = self.message()?;
        Ok(Outcome::text(match stages.inspect(options, &*message) {
            Err(fault) => format!("{fault}\n"),
            Ok(Err(reason)) => format!("none: {reason}\n"),
            Ok(Ok(findings)) => render::findings(&findings),
        }))
    }

    fn message(&self) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(fs::read(self.path.join("message.eml")).context("message.eml")?))
    }

    fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let text = fs::read_to_string(self.path.join(name)).context(name.to_owned())?;
        serde_json::from_str(&text).context(name.to_owned())
    }

    fn options<T: DeserializeOwned>(&self, defaults: Value) -> Result<T> {
        let given =
            if self.path.join("options.json").is_file() { self.json("options.json")? } else { Value::Null };
        merged(defaults, given).context("options.json")
    }
}

impl Outcome {
    fn text(text: String) -> Self {
        Self { text, message: None }
    }

    /// Compares with the files of `case`. With `bless` it writes them instead.
    ///
    /// # Errors
    /// What differs; a file that cannot be read or written.
    pub fn check(&self, case: &Case, bless: bool) -> Result<()> {
        let text = case.path.join("expected.txt");
        let message = case.path.join("expected.eml");
        if bless {
            fs::write(&text, &self.text)?;
            match &self.message {
                Some(octets) => fs::write(&message, octets)?,
                None if message.exists() => fs::remove_file(&message)?,
                None => {}
            }
            return Ok(());
        }
        let expected = fs::read_to_string(&text).context("expected.txt")?;
        if expected != self.text {
            bail!("{}: expected.txt has\n{expected}\nbut it is\n{}", case.name(), self.text);
        }
        let expected = message.exists().then(|| fs::read(&message)).transpose()?;
        if expected != self.message {
            let show = |octets: &Option<Vec<u8>>| {
                octets.as_ref().map_or("no message".into(), |o| String::from_utf8_lossy(o).into_owned())
            };
            bail!(
                "{}: expected.eml has\n{}\nbut it is\n{}",
                case.name(),
                show(&expected),
                show(&self.message)
            );
        }
        Ok(())
    }
}

/// Puts what is given over the defaults. A name that the defaults do not have is a mistake.
fn merged<T: DeserializeOwned>(defaults: Value, given: Value) -> Result<T> {
    let mut all = defaults;
    if let (Some(all), Some(given)) = (all.as_object_mut(), given.as_object()) {
        for (name, value) in given {
            let Some(place) = all.get_mut(name) else { bail!("there is no option {name}") };
            *place = value.clone();
        }
    }
    Ok(serde_json::from_value(all)?)
}

/// The options of a `track` case that gives none.
#[must_use]
pub fn track_defaults() -> TrackOptions {
    TrackOptions {
        clicks: true,
        opens: true,
        text_links: false,
        url_overhead: 64,
        max_html: 4 << 20,
        max_links: 1000,
        max_link_length: 2048,
        reencode: Vec::new(),
        exclude_domains: Vec::new(),
        unsubscribe_length: 0,
    }
}

/// The limits of a `template` case that gives none.
#[must_use]
pub fn template_limits() -> TemplateLimits {
    TemplateLimits { max_output: 1 << 20, max_steps: 1_000_000, max_depth: 64 }
}

/// The envelope of a `template` case that gives none.
#[must_use]
pub fn envelope() -> MessageEnvelope {
    let mailbox = |name: &str, address: &str| Mailbox { name: Some(name.into()), address: address.into() };
    MessageEnvelope {
        from: mailbox("Shop", "shop@example.com"),
        sender: None,
        to: vec![mailbox("Ana", "ana@example.net")],
        cc: Vec::new(),
        reply_to: Vec::new(),
        fields: Vec::new(),
        attachments: Vec::new(),
        date: Some(1_795_325_640),
        message_id: "<made.up@example.com>".into(),
        boundary_seed: "k7Qw2mZx9Lp4Tn8B".into(),
    }
}

/// URLs as the cases have them.
struct CaseUrls;

impl TrackingUrls for CaseUrls {
    fn click(&self, link: u32) -> String {
        format!("https://t.example/c/{link}")
    }

    fn open(&self) -> String {
        "https://t.example/o/0".into()
    }

    fn unsubscribe(&self) -> String {
        "https://t.example/u/0".into()
    }
}

fn apply(added_headers: Vec<u8>, message: &Arc<dyn Source>, edits: Vec<Edit>) -> Result<Vec<u8>> {
    let splice = Splice::new(added_headers, Arc::clone(message), edits, &CaseUrls)?;
    let mut whole = Vec::new();
    for_each_chunk(&splice, 0, splice.size(), |chunk| -> io::Result<()> {
        whole.extend_from_slice(chunk);
        Ok(())
    })?;
    Ok(whole)
}
