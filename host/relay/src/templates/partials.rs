//! Templates that others include or extend: loaded with them, in their published versions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use relevo_mailkit::model::{TemplatePartial, TemplateReference, TemplateSource};
use relevo_mailkit::source::Source;
use relevo_store::TemplateRecord;
use tracing::warn;

use super::{TemplateContent, TemplateRefusal, Templates, refusal, source};
use crate::sandbox::WorkClass;

/// Templates that are loaded for one.
const MAX_PARTIALS: usize = 20;
/// Words without which a source names no other template.
const WORDS: [&str; 4] = ["include", "extends", "import", "from"];

/// A template as it is known by others.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// Empty: it is not stored yet.
    pub(super) id: String,
    pub(super) alias: Option<String>,
}

impl From<&TemplateRecord> for Known {
    fn from(record: &TemplateRecord) -> Self {
        Self { id: record.id.clone(), alias: record.alias.clone() }
    }
}

/// Sources with everything that they name.
pub(super) struct Loaded {
    pub(super) source: TemplateSource,
    /// What the sources themselves name.
    pub(super) names: Vec<String>,
}

/// A source whose references are to be followed.
struct Pending {
    source: TemplateSource,
    /// The id, or nothing for the template that all of this is about.
    id: String,
    /// The source of that template that led here.
    place: Option<String>,
    /// As it was named.
    name: String,
}

impl Templates {
    /// Loads what the sources name, and what that names. `root` is the template itself.
    ///
    /// # Errors
    /// A template that is named does not exist, has no published version, or leads back to itself;
    /// or there are too many.
    pub(super) async fn load(
        &self,
        tenant: &str,
        root: &Known,
        content: &TemplateContent,
    ) -> Result<Loaded, TemplateRefusal> {
        let mut all = source(content);
        let mut names = BTreeSet::new();
        let mut graph = Graph::default();
        let first = Pending { source: all.clone(), id: String::new(), place: None, name: "it".to_owned() };
        let mut pending = VecDeque::from([first]);
        while let Some(of) = pending.pop_front() {
            for reference in self.references(tenant, &of).await? {
                if of.id.is_empty() {
                    names.insert(reference.name.clone());
                }
                let place = of.place.clone().unwrap_or_else(|| reference.template.clone());
                let is_root = reference.name == root.id || Some(&reference.name) == root.alias.as_ref();
                let known = graph.ids.get(&reference.name).cloned();
                let id = match (is_root, known) {
                    (true, _) => String::new(),
                    (false, Some(id)) => id,
                    (false, None) => {
                        let Some((id, content)) = self.partial(tenant, &of.name, &place, &reference).await?
                        else {
                            continue;
                        };
                        if all.partials.len() == MAX_PARTIALS {
                            let message = format!("more than {MAX_PARTIALS} other templates are needed");
                            return Err(TemplateRefusal::Invalid { param: place, message });
                        }
                        let (source, name) = (source(&content), reference.name.clone());
                        all.partials.push(partial(&name, &source));
                        graph.ids.insert(name.clone(), id.clone());
                        pending.push_back(Pending {
                            source,
                            id: id.clone(),
                            place: Some(place.clone()),
                            name,
                        });
                        id
                    }
                };
                graph.add(&of.id, &id, &reference.name);
                if let Some(chain) = graph.cycle() {
                    let message = format!("the templates name each other: {chain}");
                    return Err(TemplateRefusal::Invalid { param: place, message });
                }
            }
        }
        Ok(Loaded { source: all, names: names.into_iter().collect() })
    }

    async fn references(
        &self,
        tenant: &str,
        of: &Pending,
    ) -> Result<Vec<TemplateReference>, TemplateRefusal> {
        let source = TemplateSource { partials: Vec::new(), ..of.source.clone() };
        let texts = [Some(&source.subject), source.html.as_ref(), source.mjml.as_ref(), source.text.as_ref()];
        if !texts
            .into_iter()
            .flatten()
            .any(|text| text.contains("{%") && WORDS.iter().any(|word| text.contains(word)))
        {
            return Ok(Vec::new());
        }
        let nothing: Arc<dyn Source> = Arc::new(Vec::new());
        let ask =
            self.sandbox.run(WorkClass::Accept, tenant, &nothing, move |stages, _| stages.references(source));
        let answer = ask.await.map_err(|fault| {
            warn!(tenant, %fault, "the templates that a template names could not be found");
            TemplateRefusal::Unavailable
        })?;
        answer.map_err(|error| match (&of.place, refusal(&error)) {
            (Some(place), TemplateRefusal::Invalid { message, .. }) => {
                let message = format!("in the template `{}`: {message}", of.name);
                TemplateRefusal::Invalid { param: place.clone(), message }
            }
            (_, refusal) => refusal,
        })
    }

    /// Id and published content of a template that `by` names; none where it may be missing and is.
    async fn partial(
        &self,
        tenant: &str,
        by: &str,
        place: &str,
        reference: &TemplateReference,
    ) -> Result<Option<(String, TemplateContent)>, TemplateRefusal> {
        let name = &reference.name;
        let refuse = |what: &str| match reference.required {
            false => Ok(None),
            true => {
                let by = if by == "it" { "it".to_owned() } else { format!("`{by}`") };
                let message = format!("the template `{}` that {by} names {what}", name.escape_debug());
                Err(TemplateRefusal::Invalid { param: place.to_owned(), message })
            }
        };
        let Some(record) = self.store.template(tenant, name).await? else { return refuse("does not exist") };
        let Some(number) = record.published else { return refuse("has no published version") };
        match self.store.template_version(tenant, &record.id, number).await? {
            Some(version) => Ok(Some((record.id, version.content))),
            None => refuse("has no published version"),
        }
    }

    /// Refuses to take away a name by which others use a template.
    pub(super) async fn refuse_if_used(
        &self,
        tenant: &str,
        id: &str,
        alias: &str,
    ) -> Result<(), TemplateRefusal> {
        let users = self.store.template_users(tenant, id, alias).await?;
        match users.as_slice() {
            [] => Ok(()),
            users => Err(TemplateRefusal::Conflict(format!(
                "other templates use this one, change them first: {}",
                users.join(", ")
            ))),
        }
    }
}

fn partial(name: &str, source: &TemplateSource) -> TemplatePartial {
    TemplatePartial {
        name: name.to_owned(),
        subject: source.subject.clone(),
        html: source.html.clone(),
        mjml: source.mjml.clone(),
        text: source.text.clone(),
    }
}

/// Which template names which, by id. The root's id is empty.
#[derive(Default)]
struct Graph {
    ids: BTreeMap<String, String>,
    edges: BTreeMap<String, BTreeMap<String, String>>,
}

impl Graph {
    fn add(&mut self, from: &str, to: &str, name: &str) {
        self.edges.entry(from.to_owned()).or_default().insert(to.to_owned(), name.to_owned());
    }

    /// The names along a way that leads back to where it began.
    fn cycle(&self) -> Option<String> {
        self.edges.keys().find_map(|start| {
            let mut way = Vec::new();
            let mut seen = BTreeSet::new();
            self.leads_to(start, start, &mut way, &mut seen).then(|| way.join(" → "))
        })
    }

    fn leads_to<'a>(
        &'a self,
        from: &'a str,
        target: &str,
        way: &mut Vec<&'a str>,
        seen: &mut BTreeSet<&'a str>,
    ) -> bool {
        for (to, name) in self.edges.get(from).into_iter().flatten() {
            way.push(name);
            if to == target || (seen.insert(to) && self.leads_to(to, target, way, seen)) {
                return true;
            }
            way.pop();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::default();
        edges.iter().for_each(|(from, to)| graph.add(from, to, to));
        graph
    }

    #[test]
    fn only_ways_that_lead_back_are_cycles() {
        assert_eq!(graph(&[("", "a"), ("", "b"), ("a", "b"), ("b", "c"), ("a", "c")]).cycle(), None);
        assert_eq!(graph(&[("", "a"), ("a", "a")]).cycle().as_deref(), Some("a"));
        let crossing = graph(&[("", "a"), ("", "b"), ("a", "b"), ("b", "a")]).cycle();
        assert_eq!(crossing.as_deref(), Some("b → a"));
        assert!(graph(&[("", "a"), ("a", "")]).cycle().is_some());
    }
}
