//! The page of the reference.

use std::collections::BTreeMap;
use std::fmt::Write;

use relevo_pages::html::escape;
use serde_json::Value;

use super::errors::{self, ERRORS};
use super::schema::{self, Field};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// An operation of the document.
struct Operation<'a> {
    method: &'a str,
    path: &'a str,
    value: &'a Value,
}

impl Operation<'_> {
    /// The name of its place in the page.
    fn anchor(&self) -> String {
        let path: String =
            self.path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        format!("{}{path}", self.method)
    }

    fn tag(&self) -> &str {
        self.value["tags"][0].as_str().unwrap_or("other")
    }
}

/// The whole page.
pub(super) fn render(document: &Value) -> String {
    let operations = operations(document);
    let mut by_tag: BTreeMap<&str, Vec<&Operation<'_>>> = BTreeMap::new();
    for operation in &operations {
        by_tag.entry(operation.tag()).or_default().push(operation);
    }
    let mut html = head(document);
    navigation(&mut html, &by_tag);
    html.push_str("<main>");
    introduction(&mut html, document);
    for (tag, operations) in &by_tag {
        let _ = write!(html, "<section id=\"tag-{0}\"><h2>{0}</h2>", escape(tag));
        text(&mut html, tag_description(document, tag));
        for operation in operations {
            section(&mut html, document, operation);
        }
        html.push_str("</section>");
    }
    error_names(&mut html);
    html.push_str("</main></html>");
    html
}

fn operations(document: &Value) -> Vec<Operation<'_>> {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths
        .flat_map(|(path, item)| {
            let methods = METHODS.into_iter().filter_map(move |method| Some((method, item.get(method)?)));
            methods.map(move |(method, value)| Operation { method, path, value })
        })
        .collect()
}

fn head(document: &Value) -> String {
    let title = escape(document["info"]["title"].as_str().unwrap_or("API"));
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width\"><title>{title}: reference</title>\
         <link rel=stylesheet href=\"/docs/style.css\">"
    )
}

fn navigation(html: &mut String, by_tag: &BTreeMap<&str, Vec<&Operation<'_>>>) {
    html.push_str(
        "<nav><p><a href=\"#top\"><b>Reference</b></a><br><a href=\"/openapi.json\">openapi.json</a></p>",
    );
    for (tag, operations) in by_tag {
        let _ = write!(html, "<details open><summary>{}</summary><ul>", escape(tag));
        for operation in operations {
            let _ = write!(
                html,
                "<li><a href=\"#{}\"><span class=\"m {}\">{}</span> {}</a>",
                operation.anchor(),
                operation.method,
                operation.method,
                escape(operation.path)
            );
        }
        html.push_str("</ul></details>");
    }
    html.push_str("<p><a href=\"#errors\">Errors</a></p></nav>");
}

fn introduction(html: &mut String, document: &Value) {
    let info = &document["info"];
    let _ = write!(
        html,
        "<header id=top><h1>{}</h1><p class=version>Version {}</p>",
        escape(info["title"].as_str().unwrap_or("API")),
        escape(info["version"].as_str().unwrap_or_default())
    );
    text(html, info["description"].as_str().unwrap_or_default());
    html.push_str("</header>");
}

fn tag_description<'a>(document: &'a Value, tag: &str) -> &'a str {
    let mut tags = document["tags"].as_array().into_iter().flatten();
    tags.find(|entry| entry["name"] == tag)
        .and_then(|entry| entry["description"].as_str())
        .unwrap_or_default()
}

fn section(html: &mut String, document: &Value, operation: &Operation<'_>) {
    let value = operation.value;
    let _ = write!(
        html,
        "<article id=\"{0}\"><h3><a href=\"#{0}\"><span class=\"m {1}\">{1}</span> <code>{2}</code></a></h3>",
        operation.anchor(),
        operation.method,
        escape(operation.path)
    );
    for part in ["summary", "description"] {
        text(html, value[part].as_str().unwrap_or_default());
    }
    parameters(html, document, value);
    let content = &value["requestBody"]["content"];
    for (media, content) in content.as_object().into_iter().flatten() {
        let _ = write!(html, "<h4>Body <small>{}</small></h4>", escape(media));
        table(html, &schema::fields(document, &content["schema"]));
    }
    curl(html, document, operation);
    responses(html, document, value);
    html.push_str("</article>");
}

fn parameters(html: &mut String, document: &Value, operation: &Value) {
    let all = operation["parameters"].as_array().into_iter().flatten();
    let fields: Vec<Field> = all
        .map(|parameter| Field {
            path: parameter["name"].as_str().unwrap_or_default().to_owned(),
            kind: format!(
                "{} ({})",
                schema::kind(document, &parameter["schema"]),
                parameter["in"].as_str().unwrap_or_default()
            ),
            required: parameter["required"] == true,
            description: parameter["description"].as_str().unwrap_or_default().to_owned(),
        })
        .collect();
    if !fields.is_empty() {
        html.push_str("<h4>Parameters</h4>");
        table(html, &fields);
    }
}

fn table(html: &mut String, fields: &[Field]) {
    if fields.is_empty() {
        return;
    }
    html.push_str("<table><thead><tr><th>Name<th>Type<th>Meaning</thead><tbody>");
    for Field { path, kind, required, description } in fields {
        let required = if *required { " <b>required</b>" } else { "" };
        let _ = write!(html, "<tr><td><code>{}</code>{required}<td>{}<td>", escape(path), escape(kind));
        inline(html, description);
    }
    html.push_str("</tbody></table>");
}

fn responses(html: &mut String, document: &Value, operation: &Value) {
    let all = operation["responses"].as_object().into_iter().flatten();
    let (good, bad): (Vec<_>, Vec<_>) = all.partition(|(status, _)| status.starts_with(['1', '2', '3']));
    let response = |response: &Value| -> Value {
        let target = response["$ref"].as_str().and_then(|path| document.pointer(path.strip_prefix('#')?));
        target.unwrap_or(response).clone()
    };
    for (status, response) in good {
        let _ = write!(html, "<h4>Answer <small>{}</small></h4>", escape(status));
        text(html, response["description"].as_str().unwrap_or_default());
        for (media, content) in response["content"].as_object().into_iter().flatten() {
            let fields = schema::fields(document, &content["schema"]);
            if !fields.is_empty() {
                let _ =
                    write!(html, "<details><summary>{} fields of {}</summary>", fields.len(), escape(media));
                table(html, &fields);
                html.push_str("</details>");
            }
            if let Some(example) = content.get("example") {
                let _ = write!(html, "<pre>{}</pre>", escape(&pretty(example)));
            }
        }
    }
    if !bad.is_empty() {
        html.push_str("<details><summary>Errors</summary><table><tbody>");
        for (status, refused) in bad {
            let _ = write!(html, "<tr><td><code>{}</code><td>", escape(status));
            inline(html, response(refused)["description"].as_str().unwrap_or_default());
        }
        html.push_str("</tbody></table></details>");
    }
}

/// What `doc_url` of an error leads to.
fn error_names(html: &mut String) {
    html.push_str("<section id=errors><h2>errors</h2><table><tbody>");
    for error in &ERRORS {
        let (anchor, name) = (errors::anchor(error.name), escape(error.name));
        let _ = write!(html, "<tr id=\"{anchor}\"><td><code>{name}</code><td>{}<td>", error.status);
        inline(html, error.meaning);
    }
    html.push_str("</tbody></table></section>");
}

/// A request that can be pasted into a shell.
fn curl(html: &mut String, document: &Value, operation: &Operation<'_>) {
    let mut lines = vec![match operation.method {
        "get" => format!("curl \"$RELEVO{}\"", operation.path),
        method => format!("curl -X {} \"$RELEVO{}\"", method.to_ascii_uppercase(), operation.path),
    }];
    if operation.value["security"] != Value::Array(Vec::new()) {
        lines.push("  -H \"Authorization: Bearer $KEY\"".to_owned());
    }
    let content = operation.value["requestBody"]["content"].as_object().and_then(|all| all.iter().next());
    if let Some((media, content)) = content {
        match (media.as_str(), schema::example(document, content)) {
            ("application/json", Some(example)) => {
                // A quote within single quotes of a shell.
                lines.push(format!("  -d '{}'", pretty(&example).replace('\'', "'\\''")));
            }
            (media, _) => lines.push(format!("  -H \"Content-Type: {media}\" --data-binary @FILE")),
        }
    }
    let _ = write!(html, "<pre class=curl>{}</pre>", escape(&lines.join(" \\\n")));
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// Paragraphs of a doc comment. Lines that begin with a hyphen are a list.
fn text(html: &mut String, text: &str) {
    for paragraph in text.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty()) {
        if paragraph.starts_with("- ") {
            html.push_str("<ul>");
            for item in paragraph.trim_start_matches("- ").split("\n- ") {
                html.push_str("<li>");
                inline(html, item);
            }
            html.push_str("</ul>");
        } else {
            html.push_str("<p>");
            inline(html, paragraph);
            html.push_str("</p>");
        }
    }
}

/// Text with words in backticks as code.
fn inline(html: &mut String, text: &str) {
    for (position, part) in text.split('`').enumerate() {
        match position % 2 {
            0 => html.push_str(&escape(part)),
            _ => {
                let _ = write!(html, "<code>{}</code>", escape(part));
            }
        }
    }
}
