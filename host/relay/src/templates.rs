//! Templates of tenants: stored with their versions, checked before they are stored, and rendered in the sandbox.

use std::sync::Arc;

use relevo_mailkit::model::{Rendered, TemplateError, TemplateLimits, TemplateSource};
use relevo_mailkit::source::Source;
use relevo_store::{ControlStoreError, TemplateStore};
pub use relevo_store::{TemplateContent, TemplateRecord, TemplateVariable, TemplateVersion};
use serde_json::{Map, Value};
use tracing::{error, warn};

use crate::clock::{Clock, IdSource};
use crate::sandbox::{Sandbox, WorkClass};

/// Bounds of a rendering. A mail is far below them.
const LIMITS: TemplateLimits = TemplateLimits { max_output: 2 << 20, max_steps: 1_000_000, max_depth: 64 };
/// Octets of all sources of a template.
const MAX_SOURCES: usize = 2 << 20;
/// Templates of a tenant.
const MAX_TEMPLATES: u32 = 10_000;

/// Why a template cannot be stored or rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateRefusal {
    /// There is no such template, or no such version.
    #[error("{0}")]
    NotFound(String),
    /// The alias is in use, or there are too many templates.
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
        let number = match number {
            Some(number) => number,
            None => self.store.template_versions(tenant, id).await?.first().map_or(0, |(newest, _)| *newest),
        };
        let found = self.store.template_version(tenant, id, number).await?;
        found.ok_or_else(|| TemplateRefusal::NotFound(format!("the template has no version {number}")))
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
        self.check(tenant, content).await?;
        let count = self.store.templates(tenant, "", MAX_TEMPLATES).await?.len();
        if u32::try_from(count).is_ok_and(|count| count >= MAX_TEMPLATES) {
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
        self.store.add_template(tenant, &record, content).await?;
        Ok(record)
    }

    /// Stores new content as the next version, and returns its number. What is published stays published.
    ///
    /// # Errors
    /// A source is not well formed, or there is no such template.
    pub async fn add_version(
        &self,
        tenant: &str,
        id: &str,
        content: &TemplateContent,
    ) -> Result<i64, TemplateRefusal> {
        self.check(tenant, content).await?;
        let now = self.clock.now();
        let number = self.store.add_template_version(tenant, id, content, now).await?;
        number.ok_or_else(|| TemplateRefusal::NotFound(format!("there is no template {id:?}")))
    }

    /// Changes name, alias or published version.
    ///
    /// # Errors
    /// The alias is in use, the version does not exist, or there is no such template.
    pub async fn put(&self, tenant: &str, mut record: TemplateRecord) -> Result<(), TemplateRefusal> {
        record.changed_at = self.clock.now();
        match self.store.put_template(tenant, &record).await? {
            true => Ok(()),
            false => Err(TemplateRefusal::NotFound(format!("there is no template {:?}", record.id))),
        }
    }

    /// Deletes a template with its versions.
    ///
    /// # Errors
    /// There is none.
    pub async fn delete(&self, tenant: &str, id: &str) -> Result<(), TemplateRefusal> {
        match self.store.delete_template(tenant, id).await? {
            true => Ok(()),
            false => Err(TemplateRefusal::NotFound(format!("there is no template {id:?}"))),
        }
    }

    /// Renders sources. A variable that is not given has its fallback, and without one it is an error at
    /// `variables.NAME`.
    ///
    /// # Errors
    /// What is wrong, at `subject`, `html`, `mjml`, `text` or `variables`.
    pub async fn render(
        &self,
        tenant: &str,
        content: &TemplateContent,
        mut variables: Map<String, Value>,
    ) -> Result<Rendered, TemplateRefusal> {
        for variable in &content.variables {
            if let (false, Some(fallback)) = (variables.contains_key(&variable.key), &variable.fallback_value)
            {
                variables.insert(variable.key.clone(), fallback.clone());
            }
        }
        self.try_render(tenant, content, variables).await?.map_err(|error| refusal(&error))
    }

    /// Sees that every source can be rendered, as far as that can be told without variables.
    async fn check(&self, tenant: &str, content: &TemplateContent) -> Result<(), TemplateRefusal> {
        let sources =
            [Some(&content.subject), content.html.as_ref(), content.mjml.as_ref(), content.text.as_ref()];
        if sources.into_iter().flatten().map(String::len).sum::<usize>() > MAX_SOURCES {
            let message = format!("the sources have more than {MAX_SOURCES} octets together");
            return Err(TemplateRefusal::Invalid { param: "html".to_owned(), message });
        }
        match self.try_render(tenant, content, Map::new()).await? {
            // Values decide about everything but the syntax.
            Err(error)
                if matches!(error.kind.as_str(), "syntax" | "mjml" | "too-deep" | "invalid-field")
                    && !depends_on_values(&error) =>
            {
                Err(refusal(&error))
            }
            _ => Ok(()),
        }
    }

    async fn try_render(
        &self,
        tenant: &str,
        content: &TemplateContent,
        variables: Map<String, Value>,
    ) -> Result<Result<Rendered, TemplateError>, TemplateRefusal> {
        let source = TemplateSource {
            subject: content.subject.clone(),
            html: content.html.clone(),
            mjml: content.mjml.clone(),
            text: content.text.clone(),
        };
        let variables = Value::Object(variables).to_string();
        let nothing: Arc<dyn Source> = Arc::new(Vec::new());
        let render = self.sandbox.run(WorkClass::Accept, tenant, &nothing, move |stages, _| {
            stages.render(source, &variables, LIMITS)
        });
        render.await.map_err(|fault| {
            warn!(tenant, %fault, "a template could not be rendered");
            TemplateRefusal::Unavailable
        })
    }
}

/// An operation that failed may work with other values: `{{ 1 / n }}`.
fn depends_on_values(error: &TemplateError) -> bool {
    error.message.starts_with("invalid operation") || error.template == "variables"
}

fn refusal(error: &TemplateError) -> TemplateRefusal {
    let place = match (error.line, error.column) {
        (Some(line), Some(column)) => format!(" (line {line}, column {column})"),
        (Some(line), None) => format!(" (line {line})"),
        _ => String::new(),
    };
    match &error.path {
        Some(path) => TemplateRefusal::Invalid {
            param: format!("variables.{path}"),
            message: format!(
                "the template uses this variable in its {}{place}, and it is not given",
                error.template
            ),
        },
        None => TemplateRefusal::Invalid {
            param: error.template.clone(),
            message: format!("{}{place}", error.message),
        },
    }
}
