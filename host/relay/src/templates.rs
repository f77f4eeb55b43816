//! Templates of tenants: stored with their versions, checked before they are stored, and rendered
//! in the sandbox.

use std::sync::Arc;

use relevo_api::Problem;
use relevo_api::content::{LIMITS, RenderCall};
use relevo_api::template::{StoredTemplate, main_source, source_problem, within_request};
use relevo_mailkit::model::{Rendered, TemplateError, TemplateSource};
use relevo_mailkit::source::Source;
use relevo_runtime::{Fault, FaultKind};
use relevo_store::{ControlStoreError, TemplateStore};
pub use relevo_store::{TemplateChange, TemplateContent, TemplateRecord, TemplateVariable, TemplateVersion};
use serde_json::{Map, Value};
use tracing::{error, warn};

use self::partials::{Known, Loaded};
use crate::clock::{Clock, IdSource};
use crate::sandbox::{Sandbox, WorkClass};

mod partials;

/// Octets of the content of a template, as JSON.
const MAX_CONTENT: usize = 2 << 20;
/// Templates of a tenant.
const MAX_TEMPLATES: i64 = 10_000;
/// Versions of a template.
const MAX_VERSIONS: i64 = 1_000;

/// Why a template cannot be stored or rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateRefusal {
    /// There is no such template, or no such version.
    #[error("{0}")]
    NotFound(String),
    /// The alias is in use, or there are too many templates or versions.
    #[error("{0}")]
    Conflict(String),
    /// A source, a variable or another value is wrong.
    #[error("{message}")]
    Invalid {
        /// The path of the value in the request.
        param: String,
        /// The mistake.
        message: String,
    },
    /// The store or the sandbox failed. The log has the details.
    #[error("templates are not available now, try again later")]
    Unavailable,
}

impl TemplateRefusal {
    /// The same refusal in a request that names the template at `template.id`, with the variables for
    /// it at `variables`.
    #[must_use]
    pub fn within_request(self, variables: &str) -> Self {
        let Problem { param, message } = match self {
            Self::Invalid { param, message } => within_request(Problem::new(param, message), variables),
            Self::NotFound(message) | Self::Conflict(message) => Problem::new("template.id", message),
            Self::Unavailable => return self,
        };
        Self::Invalid { param, message }
    }
}

impl From<ControlStoreError> for TemplateRefusal {
    fn from(error: ControlStoreError) -> Self {
        if let ControlStoreError::Conflict(reason) = error {
            return Self::Conflict(reason);
        }
        error!(%error, "the store of templates failed");
        Self::Unavailable
    }
}

/// The templates of all tenants. Cheap to clone.
#[derive(Clone)]
pub struct Templates {
    store: Arc<dyn TemplateStore>,
    sandbox: Sandbox,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
}

impl Templates {
    /// Templates in this store, rendered in this sandbox.
    #[must_use]
    pub fn new(
        store: Arc<dyn TemplateStore>,
        sandbox: Sandbox,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
    ) -> Self {
        Self { store, sandbox, clock, ids }
    }

    /// Templates by id, those behind `after`.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(
        &self,
        tenant: &str,
        after: &str,
        max: u32,
    ) -> Result<Vec<TemplateRecord>, TemplateRefusal> {
        Ok(self.store.templates(tenant, after, max).await?)
    }

    /// The template of this id or alias.
    ///
    /// # Errors
    /// There is none.
    pub async fn find(&self, tenant: &str, name: &str) -> Result<TemplateRecord, TemplateRefusal> {
        let found = self.store.template(tenant, name).await?;
        found.ok_or_else(|| TemplateRefusal::NotFound(format!("there is no template {name:?}")))
    }

    /// Numbers and times of a template's versions, the newest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn versions(&self, tenant: &str, id: &str) -> Result<Vec<(i64, i64)>, TemplateRefusal> {
        Ok(self.store.template_versions(tenant, id).await?)
    }

    /// One version; without a number the newest.
    ///
    /// # Errors
    /// There is none.
    pub async fn version(
        &self,
        tenant: &str,
        id: &str,
        number: Option<i64>,
    ) -> Result<TemplateVersion, TemplateRefusal> {
        let (found, what) = match number {
            Some(number) => {
                (self.store.template_version(tenant, id, number).await?, format!("version {number}"))
            }
            None => (self.store.newest_template_version(tenant, id).await?, "version".to_owned()),
        };
        found.ok_or_else(|| TemplateRefusal::NotFound(format!("the template has no {what}")))
    }

    /// The version that requests to send use.
    ///
    /// # Errors
    /// There is no such template, or it was never published.
    pub async fn published(&self, tenant: &str, name: &str) -> Result<TemplateVersion, TemplateRefusal> {
        let template = self.find(tenant, name).await?;
        if template.published.is_none() {
            let reason = format!("the template {name:?} has no published version");
            return Err(TemplateRefusal::NotFound(reason));
        }
        self.version(tenant, &template.id, template.published).await
    }

    /// What a rendering of a version needs: the published one, or the one that is asked for by its
    /// number.
    ///
    /// # Errors
    /// There is no such template or version, it was never published, or a template that it names is
    /// missing.
    pub async fn stored(
        &self,
        tenant: &str,
        name: &str,
        version: Option<i64>,
    ) -> Result<StoredTemplate, TemplateRefusal> {
        let found = self.find(tenant, name).await?;
        let version = match version {
            Some(number) => self.version(tenant, &found.id, Some(number)).await?,
            None => self.published(tenant, &found.id).await?,
        };
        let Loaded { source, .. } = self.load(tenant, &Known::default(), &version.content).await?;
        let fallbacks = fallbacks(&version.content);
        Ok(StoredTemplate { id: found.id, version: version.number, source, fallbacks })
    }

    /// Stores a new template with its first version, not yet published.
    ///
    /// # Errors
    /// A source is not well formed, the alias is in use, or there are too many templates.
    pub async fn create(
        &self,
        tenant: &str,
        name: String,
        alias: Option<String>,
        content: &TemplateContent,
    ) -> Result<TemplateRecord, TemplateRefusal> {
        let root = Known { id: String::new(), alias: alias.clone() };
        let references = self.check(tenant, &root, content).await?;
        if self.store.count_templates(tenant).await? >= MAX_TEMPLATES {
            return Err(TemplateRefusal::Conflict(format!("there are {MAX_TEMPLATES} templates already")));
        }
        let now = self.clock.now();
        let id = self.ids.item_id(now).map_err(|error| {
            error!(%error, "no id for a template");
            TemplateRefusal::Unavailable
        })?;
        let record = TemplateRecord {
            id: id.to_string(),
            alias,
            name,
            published: None,
            created_at: now,
            changed_at: now,
        };
        self.store.add_template(tenant, &record, content, &references).await?;
        Ok(record)
    }

    /// Changes a template in one step. New content becomes the next version; what is published
    /// stays published.
    ///
    /// # Errors
    /// A source is not well formed, the alias is in use, there are too many versions, or there is
    /// no such template. Nothing is changed then.
    pub async fn change(
        &self,
        tenant: &str,
        id: &str,
        change: &TemplateChange,
    ) -> Result<(), TemplateRefusal> {
        let mut change = change.clone();
        let template = self.find(tenant, id).await?;
        if let (Some(_), Some(alias)) = (&change.alias, &template.alias) {
            // Those that use it by its id still find it.
            self.refuse_if_used(tenant, "", alias).await?;
        }
        if let Some(content) = &change.content {
            change.references = self.check(tenant, &Known::from(&template), content).await?;
            // Versions are numbered without gaps.
            if self.version(tenant, id, None).await?.number >= MAX_VERSIONS {
                let reason = format!("the template has {MAX_VERSIONS} versions: make a duplicate");
                return Err(TemplateRefusal::Conflict(reason));
            }
        }
        match self.store.change_template(tenant, id, &change, self.clock.now()).await? {
            true => Ok(()),
            false => Err(TemplateRefusal::NotFound(format!("there is no template {id:?}"))),
        }
    }

    /// Publishes a version: requests to send use it from now on.
    ///
    /// # Errors
    /// The version does not exist, there is no such template, or one that it names is missing.
    pub async fn publish(&self, tenant: &str, id: &str, number: i64) -> Result<(), TemplateRefusal> {
        let template = self.find(tenant, id).await?;
        let version = self.version(tenant, id, Some(number)).await?;
        self.load(tenant, &Known::from(&template), &version.content).await?;
        match self.store.publish_template(tenant, id, number, self.clock.now()).await? {
            true => Ok(()),
            false => Err(TemplateRefusal::NotFound(format!("there is no template {id:?}"))),
        }
    }

    /// Deletes a template with its versions.
    ///
    /// # Errors
    /// There is none, or other templates use it.
    pub async fn delete(&self, tenant: &str, id: &str) -> Result<(), TemplateRefusal> {
        let template = self.find(tenant, id).await?;
        self.refuse_if_used(tenant, id, template.alias.as_deref().unwrap_or(id)).await?;
        match self.store.delete_template(tenant, id).await? {
            true => Ok(()),
            false => Err(TemplateRefusal::NotFound(format!("there is no template {id:?}"))),
        }
    }

    /// Renders sources with the templates that they name. A variable that is not given has its
    /// fallback, and without one it is an error at `variables.NAME`.
    ///
    /// # Errors
    /// What is wrong, at `subject`, `html`, `mjml`, `text` or `variables`.
    pub async fn render(
        &self,
        tenant: &str,
        content: &TemplateContent,
        variables: Map<String, Value>,
    ) -> Result<Rendered, TemplateRefusal> {
        let Loaded { source, .. } = self.load(tenant, &Known::default(), content).await?;
        let stored = StoredTemplate { source, fallbacks: fallbacks(content), ..StoredTemplate::default() };
        self.render_stored(tenant, &stored, &variables, None).await
    }

    /// As [`Self::render`], with what [`Self::stored`] returned. `subject` is in place of the
    /// template's.
    ///
    /// # Errors
    /// As for [`Self::render`].
    pub async fn render_stored(
        &self,
        tenant: &str,
        template: &StoredTemplate,
        variables: &Map<String, Value>,
        subject: Option<&str>,
    ) -> Result<Rendered, TemplateRefusal> {
        let call = RenderCall::stored(template, variables, subject);
        let place = main_source(&call.source);
        self.try_render(tenant, place, call).await?.map_err(|error| refusal(&error))
    }

    /// Sees that every source can be rendered, as far as that can be told without variables. Each
    /// source is rendered alone: a variable that one of them needs would hide the mistakes of those
    /// behind it.
    /// Returns the names of the templates that it names.
    async fn check(
        &self,
        tenant: &str,
        root: &Known,
        content: &TemplateContent,
    ) -> Result<Vec<String>, TemplateRefusal> {
        let refuse =
            |param: &str, message: String| Err(TemplateRefusal::Invalid { param: param.to_owned(), message });
        match (&content.html, &content.mjml, &content.text) {
            (None, None, None) => return refuse("text", "`html`, `mjml` or `text` is needed".to_owned()),
            (Some(_), Some(_), _) => return refuse("mjml", "give either `html` or `mjml`".to_owned()),
            _ => {}
        }
        if serde_json::to_vec(content).map_or(usize::MAX, |json| json.len()) > MAX_CONTENT {
            let message = format!("the template has more than {MAX_CONTENT} octets as JSON");
            return refuse(largest(content), message);
        }
        let loaded = self.load(tenant, root, content).await?;
        for (place, alone) in each_alone(content) {
            let alone = TemplateSource { partials: loaded.source.partials.clone(), ..alone };
            match self.try_render(tenant, place, RenderCall::new(alone, Map::new())).await? {
                // Values decide about everything but the syntax.
                Err(error)
                    if matches!(
                        error.kind.as_str(),
                        "syntax" | "mjml" | "too-deep" | "invalid-field" | "missing-template"
                    ) && !depends_on_values(&error) =>
                {
                    return Err(refusal(&error));
                }
                _ => {}
            }
        }
        Ok(loaded.names)
    }

    /// Renders a source. A fault that the source brings about is a mistake at `place`.
    async fn try_render(
        &self,
        tenant: &str,
        place: &'static str,
        call: RenderCall,
    ) -> Result<Result<Rendered, TemplateError>, TemplateRefusal> {
        let variables = call.variables_json();
        let nothing: Arc<dyn Source> = Arc::new(Vec::new());
        let render = self.sandbox.run(WorkClass::Accept, tenant, &nothing, move |stages, _| {
            stages.render(call.source, &variables, LIMITS)
        });
        render.await.map_err(|fault| {
            warn!(tenant, %fault, "a template could not be rendered");
            match too_expensive(&fault) {
                Some(message) => {
                    TemplateRefusal::Invalid { param: place.to_owned(), message: message.to_owned() }
                }
                None => TemplateRefusal::Unavailable,
            }
        })
    }
}

/// What a source that brought about this fault asks too much of; none: the source is not to blame.
pub(crate) fn too_expensive(fault: &Fault) -> Option<&'static str> {
    match fault.kind {
        FaultKind::Deadline => Some("takes too much time to render"),
        FaultKind::Memory | FaultKind::Table => Some("needs too much memory to render"),
        FaultKind::Stack => Some("is nested too deep to render"),
        _ => None,
    }
}

/// The values that variables have where none are given.
fn fallbacks(content: &TemplateContent) -> Map<String, Value> {
    let all = content.variables.iter();
    all.filter_map(|variable| Some((variable.key.clone(), variable.fallback_value.clone()?))).collect()
}

fn source(content: &TemplateContent) -> TemplateSource {
    TemplateSource {
        subject: content.subject.clone(),
        html: content.html.clone(),
        mjml: content.mjml.clone(),
        text: content.text.clone(),
        partials: Vec::new(),
    }
}

/// Every source alone, with its name. The subject cannot be without a text, so its text is empty.
fn each_alone(content: &TemplateContent) -> Vec<(&'static str, TemplateSource)> {
    let none = TemplateSource::default;
    let subject = TemplateSource { subject: content.subject.clone(), text: Some(String::new()), ..none() };
    let mut all = vec![("subject", subject)];
    if content.html.is_some() {
        all.push(("html", TemplateSource { html: content.html.clone(), ..none() }));
    }
    if content.mjml.is_some() {
        all.push(("mjml", TemplateSource { mjml: content.mjml.clone(), ..none() }));
    }
    if content.text.is_some() {
        all.push(("text", TemplateSource { text: content.text.clone(), ..none() }));
    }
    all
}

/// The field that has the most octets.
fn largest(content: &TemplateContent) -> &'static str {
    let size = |source: &Option<String>| source.as_ref().map_or(0, String::len);
    let sizes = [
        ("variables", serde_json::to_vec(&content.variables).map_or(0, |json| json.len())),
        ("subject", content.subject.len()),
        ("html", size(&content.html)),
        ("mjml", size(&content.mjml)),
        ("text", size(&content.text)),
    ];
    sizes.into_iter().max_by_key(|(_, size)| *size).map_or("html", |(name, _)| name)
}

/// An operation that failed may work with other values: `{{ 1 / n }}`.
fn depends_on_values(error: &TemplateError) -> bool {
    error.message.starts_with("invalid operation") || error.template == "variables"
}

fn refusal(error: &TemplateError) -> TemplateRefusal {
    let Problem { param, message } = source_problem(error);
    TemplateRefusal::Invalid { param, message }
}
