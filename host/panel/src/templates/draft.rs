//! What somebody types in the editor, and what the API wants of it.

use serde_json::{Map, Value, json};

use super::excerpt::Excerpt;
use super::model::{TemplateDetails, VersionContent};
use crate::api::Problem;
use crate::forms::{Fields, Form};

/// Rows for new variables below those that are there.
const FREE_ROWS: usize = 2;
/// Types of variables to choose from.
pub(super) const KINDS: [&str; 5] = ["string", "number", "boolean", "object", "list"];
/// Fields of the form by the parameter of the API.
pub(super) const NAMES: [(&str, &str); 3] =
    [("html", "source"), ("mjml", "source"), ("variables", "variables")];
/// What a new template begins with.
const STARTER: &str = "<mjml>\n  <mj-body>\n    <mj-section>\n      <mj-column>\n        \
    <mj-text>Hello {{ name }}</mj-text>\n      </mj-column>\n    </mj-section>\n  </mj-body>\n</mjml>";

/// A row of the variables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct VariableRow {
    pub(super) key: String,
    pub(super) kind: String,
    pub(super) fallback: String,
    /// For the preview and the test message.
    pub(super) value: String,
}

/// A template as it stands in the editor.
#[derive(Debug, Clone, Default)]
pub(super) struct Draft {
    pub(super) fields: Fields,
    pub(super) rows: Vec<VariableRow>,
}

/// A field that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FieldMistake {
    pub(super) field: &'static str,
    pub(super) message: String,
}

impl From<FieldMistake> for Problem {
    fn from(FieldMistake { field, message }: FieldMistake) -> Self {
        let status = axum::http::StatusCode::UNPROCESSABLE_ENTITY;
        let mut problem = Self::new(status, "validation_error", message.clone());
        problem.fields.push((field.to_owned(), message));
        problem
    }
}

impl Draft {
    /// As it was sent.
    pub(super) fn sent(fields: Fields) -> Self {
        let column = |name| fields.all(name).collect::<Vec<_>>();
        let (kinds, fallbacks, values) = (column("var_type"), column("var_fallback"), column("var_value"));
        let cell = |of: &[&str], row: usize| of.get(row).copied().unwrap_or_default().to_owned();
        let keys = fields.all("var_key").enumerate();
        let rows = keys.map(|(row, key)| VariableRow {
            key: key.trim().to_owned(),
            kind: cell(&kinds, row),
            fallback: cell(&fallbacks, row),
            value: cell(&values, row),
        });
        let rows = rows.filter(|row| !row.key.is_empty() || !row.value.is_empty()).collect();
        Self { fields, rows }
    }

    /// A new template.
    pub(super) fn fresh() -> Self {
        let fields = Fields::of([
            ("subject", "Hello {{ name }}"),
            ("format", "mjml"),
            ("source", STARTER),
            ("values", ""),
        ]);
        let row = VariableRow { key: "name".into(), kind: "string".into(), ..VariableRow::default() };
        Self { fields, rows: vec![VariableRow { value: "Ana".into(), ..row }] }
    }

    /// As it is stored.
    pub(super) fn stored(found: &TemplateDetails) -> Self {
        let TemplateDetails { template, content } = found;
        let (format, source) = content.body();
        let (version, reply_to) = (content.version.to_string(), content.reply_to.join("\n"));
        let fields = Fields::of([
            ("name", template.name.as_str()),
            ("alias", template.alias.as_deref().unwrap_or_default()),
            ("from", content.from.as_deref().unwrap_or_default()),
            ("reply_to", &reply_to),
            ("subject", &content.subject),
            ("format", format),
            ("source", source),
            ("text", content.text.as_deref().unwrap_or_default()),
            ("base_version", &version),
        ]);
        Self { fields, rows: rows(content) }
    }

    /// The same, as if it had been begun with this version.
    pub(super) fn based_on(self, version: i64) -> Self {
        let version = version.to_string();
        let others = self.fields.iter().filter(|(name, _)| *name != "base_version");
        let fields = Fields::of(others.chain([("base_version", version.as_str())]));
        Self { fields, ..self }
    }

    /// The form, with the mistakes that were found.
    pub(super) fn form(&self, problem: Option<&Problem>) -> Form {
        let form = Form::sent(&self.fields);
        match problem {
            Some(problem) => form.with_problem(problem, &NAMES),
            None => form,
        }
    }

    /// The rows of variables that are shown: those that are there, and free ones.
    pub(super) fn shown_rows(&self) -> Vec<VariableRow> {
        let free = std::iter::repeat_n(VariableRow::default(), FREE_ROWS);
        self.rows.iter().cloned().chain(free).collect()
    }

    /// The sources by their parameter.
    fn sources(&self) -> Map<String, Value> {
        let mut sources = Map::new();
        sources.insert("subject".into(), self.fields.get("subject").into());
        let format = self.fields.get("format");
        let (param, source) = match format {
            "mjml" => ("mjml", self.fields.get("source")),
            "html" => ("html", self.fields.get("source")),
            _ => ("html", ""),
        };
        sources.insert(param.into(), source.into());
        sources.insert("text".into(), self.fields.get("text").into());
        sources
    }

    /// The body of `POST /templates` and `PATCH /templates/{id}`.
    ///
    /// # Errors
    /// A variable that cannot be read.
    pub(super) fn body(&self) -> Result<Map<String, Value>, FieldMistake> {
        let mut body = self.sources();
        for name in ["name", "alias", "from"] {
            body.insert(name.into(), self.fields.get(name).trim().into());
        }
        let reply_to = self.fields.get("reply_to").lines().map(str::trim).filter(|line| !line.is_empty());
        body.insert("reply_to".into(), reply_to.collect());
        let variable = |row: &VariableRow| -> Result<Value, FieldMistake> {
            let mut variable = json!({"key": row.key, "type": row.kind});
            if !row.fallback.is_empty() {
                variable["fallback_value"] = row.read(&row.fallback)?;
            }
            Ok(variable)
        };
        let variables = self.rows.iter().map(variable).collect::<Result<Vec<_>, _>>()?;
        body.insert("variables".into(), variables.into());
        if let Ok(base) = self.fields.get("base_version").parse::<i64>() {
            body.insert("base_version".into(), base.into());
        }
        Ok(body)
    }

    /// The body of `POST /render`: the sources that are not empty, with the values to try them.
    ///
    /// # Errors
    /// A value that cannot be read.
    pub(super) fn render_body(&self) -> Result<Map<String, Value>, FieldMistake> {
        let mut body = self.sources();
        body.retain(|name, source| name == "subject" || source.as_str().is_some_and(|text| !text.is_empty()));
        let mut values = Map::new();
        for row in &self.rows {
            let text = if row.value.is_empty() { &row.fallback } else { &row.value };
            if !text.is_empty() {
                values.insert(row.key.clone(), row.read(text)?);
            }
        }
        let others = self.fields.get("values").trim();
        if !others.is_empty() {
            let others: Map<String, Value> = serde_json::from_str(others).map_err(|error| FieldMistake {
                field: "values",
                message: format!("must be a JSON object, such as {{\"order\": {{\"number\": 7}}}}: {error}"),
            })?;
            values.extend(others);
        }
        body.insert("variables".into(), values.into());
        Ok(body)
    }

    /// Where the source is that a mistake at a parameter is about.
    pub(super) fn excerpt(&self, param: &str, message: &str) -> Option<Excerpt> {
        Excerpt::of(param, message, |place| match place {
            "html" | "mjml" => Some(("source", self.fields.get("source"))),
            "text" => Some(("text", self.fields.get("text"))),
            "subject" => Some(("subject", self.fields.get("subject"))),
            _ => None,
        })
    }

    /// The excerpts for every mistake of a problem.
    pub(super) fn excerpts(&self, problem: &Problem) -> Vec<Excerpt> {
        problem.fields.iter().filter_map(|(param, message)| self.excerpt(param, message)).collect()
    }
}

impl VariableRow {
    /// The types to choose from, and whether it is this one.
    pub(super) fn kinds(&self) -> Vec<(&str, bool)> {
        let chosen = self.kind.as_str();
        let own = (!chosen.is_empty() && !KINDS.contains(&chosen)).then_some((chosen, true));
        KINDS.iter().map(|kind| (*kind, *kind == chosen)).chain(own).collect()
    }

    /// A value by its type.
    fn read(&self, text: &str) -> Result<Value, FieldMistake> {
        let read = serde_json::from_str::<Value>(text.trim()).ok();
        let (value, example) = match self.kind.as_str() {
            "number" => (read.filter(Value::is_number), "12.5"),
            "boolean" => (read.filter(Value::is_boolean), "true or false"),
            "object" => (read.filter(Value::is_object), "{\"number\": 7}"),
            "list" => (read.filter(Value::is_array), "[\"a\", \"b\"]"),
            _ => return Ok(text.into()),
        };
        value.ok_or_else(|| FieldMistake {
            field: "variables",
            message: format!("{}: {text:?} is no {}; it must be as {example}", self.key, self.kind),
        })
    }
}

fn rows(content: &VersionContent) -> Vec<VariableRow> {
    let fallback = |value: &Value| match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    let row = |variable: &super::model::Variable| VariableRow {
        key: variable.key.clone(),
        kind: variable.kind.clone(),
        fallback: variable.fallback_value.as_ref().map(fallback).unwrap_or_default(),
        value: String::new(),
    };
    content.variables.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_becomes_what_the_api_wants() {
        let fields = Fields::of([
            ("name", " Order "),
            ("format", "html"),
            ("source", "<p>{{ n }}</p>"),
            ("reply_to", "a@example.com\n\n \"B, C\" <b@example.com>"),
            ("var_key", "n"),
            ("var_type", "number"),
            ("var_fallback", "7"),
            ("var_value", "8"),
            ("var_key", ""),
            ("var_type", "string"),
            ("values", "{\"order\": {\"id\": 1}}"),
            ("base_version", "3"),
        ]);
        let draft = Draft::sent(fields);
        let body = draft.body().expect("it can be read");
        assert_eq!((&body["name"], &body["html"]), (&json!("Order"), &json!("<p>{{ n }}</p>")));
        assert!(!body.contains_key("mjml"));
        assert_eq!(body["reply_to"], json!(["a@example.com", "\"B, C\" <b@example.com>"]));
        assert_eq!(body["variables"], json!([{"key": "n", "type": "number", "fallback_value": 7}]));
        assert_eq!(body["base_version"], 3);
        let render = draft.render_body().expect("it can be read");
        assert_eq!(render["variables"], json!({"n": 8, "order": {"id": 1}}));
        assert!(!render.contains_key("text"), "a text of its own is not asked for");
    }

    #[test]
    fn a_value_of_another_type_is_named() {
        let sent = |kind, value, values| {
            Draft::sent(Fields::of([
                ("var_key", "n"),
                ("var_type", kind),
                ("var_value", value),
                ("values", values),
            ]))
        };
        let mistake = sent("number", "seven", "").render_body().expect_err("it is no number");
        assert_eq!(mistake.field, "variables");
        assert!(mistake.message.contains("\"seven\" is no number"), "{}", mistake.message);
        assert_eq!(sent("string", "x", "[1]").render_body().expect_err("no object").field, "values");
        assert!(sent("list", "[1]", "{}").render_body().is_ok());
    }
}
