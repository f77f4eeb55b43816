//! Rendering: strict, bounded, with the place of every mistake.

use proptest::prelude::*;
use relevo_mailkit::model::{Rendered, TemplateError, TemplateLimits, TemplateSource};
use relevo_template::render;

const LIMITS: TemplateLimits = TemplateLimits { max_output: 1_000_000, max_steps: 100_000, max_depth: 40 };

fn html(source: &str, variables: &str) -> Result<Rendered, TemplateError> {
    let source =
        TemplateSource { subject: "s".into(), html: Some(source.into()), ..TemplateSource::default() };
    render(&source, variables, &LIMITS)
}

fn place(error: &TemplateError) -> (&str, &str, Option<&str>, Option<u32>, Option<u32>) {
    (&error.kind, &error.template, error.path.as_deref(), error.line, error.column)
}

#[test]
fn undefined_variables_have_a_path_and_a_place() {
    let cases = [
        ("hello\n  {{ name }}", "{}", "name", 2, 6),
        ("{{ user.name }}", r#"{"user":{}}"#, "user.name", 1, 4),
        ("{{ user.address.city }}", r#"{"user":{"a":1}}"#, "user.address", 1, 8),
        ("é {% if flag %}x{% endif %}", "{}", "flag", 1, 9),
        ("{% for i in items %}x{% endfor %}", "{}", "items", 1, 13),
        ("{{ items[3] }}", r#"{"items":[]}"#, "items[3]", 1, 4),
        ("{{ missing|upper }}", "{}", "missing", 1, 12),
    ];
    for (source, variables, path, line, column) in cases {
        let error = html(source, variables).unwrap_err();
        assert_eq!(
            place(&error),
            ("undefined-variable", "html", Some(path), Some(line), Some(column)),
            "{source}: {error:?}"
        );
    }
}

#[test]
fn html_is_escaped_and_text_is_not() {
    let source = TemplateSource {
        subject: "{{ n }}".into(),
        html: Some("<p title=\"{{ n }}\">{{ n }}</p>".into()),
        text: Some("{{ n }}".into()),
        ..TemplateSource::default()
    };
    let rendered = render(&source, r#"{"n":"<b>&\"'"}"#, &LIMITS).unwrap();
    assert_eq!(rendered.subject, "<b>&\"'");
    assert_eq!(rendered.text, "<b>&\"'");
    let html = rendered.html.unwrap();
    assert!(!html.contains("<b>") && html.contains("&lt;b&gt;&amp;&quot;&#x27;"), "{html}");
}

#[test]
fn limits_are_kept() {
    let kind = |source: &str, variables: &str| html(source, variables).unwrap_err().kind;
    assert_eq!(
        kind("{% for i in range(10000) %}{% for j in range(10000) %}{% endfor %}{% endfor %}", "{}"),
        "too-many-steps"
    );
    assert_eq!(
        kind("{% for i in range(9000) %}{{ x }}{% endfor %}", &format!("{{\"x\":\"{}\"}}", "y".repeat(1000))),
        "too-long"
    );
    assert_eq!(kind("x", &format!("{{\"a\":{}1{}}}", "[".repeat(60), "]".repeat(60))), "too-deep");
    assert_eq!(kind(&"<div>".repeat(100), "{}"), "too-deep");
    assert_eq!(kind("{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}", "{}"), "too-deep");
    assert_eq!(kind("x", "[1]"), "variables-not-json");
    assert_eq!(kind("x", "{"), "variables-not-json");
    assert_eq!(kind("{% include 'html' %}", "{}"), "missing-template");
    assert_eq!(kind("{{ debug() }}", "{}"), "syntax");
    assert_eq!(kind(&format!("{{{{ {}1{} }}}}", "(".repeat(5000), ")".repeat(5000)), "{}"), "too-deep");
    let mjml = format!("<mjml><mj-body>{}", "<mj-section>".repeat(5000));
    let source = TemplateSource { subject: "s".into(), mjml: Some(mjml), ..TemplateSource::default() };
    assert_eq!(render(&source, "{}", &LIMITS).unwrap_err().kind, "too-deep");
}

#[test]
fn a_subject_is_one_line() {
    for (subject, ok) in [(" Hi {{ n }}\n", true), ("a\nb", false), ("a\r\nBcc: x@y", false), ("a\tb", false)]
    {
        let source =
            TemplateSource { subject: subject.into(), text: Some("x".into()), ..TemplateSource::default() };
        let result = render(&source, r#"{"n":"x"}"#, &LIMITS);
        assert_eq!(result.map(|r| r.subject).ok(), ok.then(|| "Hi x".to_owned()), "{subject:?}");
    }
}

#[test]
fn mjml_becomes_html_and_text() {
    let source = TemplateSource {
        subject: "s".into(),
        mjml: Some(
            "<mjml><mj-head><mj-preview>P</mj-preview></mj-head><mj-body><mj-section><mj-column><mj-text>Hi {{ n }}</mj-text>\
             <mj-button href=\"https://a.example/\">Go</mj-button></mj-column></mj-section></mj-body></mjml>"
                .into(),
        ),
        ..TemplateSource::default()
    };
    let rendered = render(&source, r#"{"n":"<Ada>"}"#, &LIMITS).unwrap();
    let html = rendered.html.clone().unwrap();
    assert!(
        html.contains("Hi &lt;Ada&gt;") && html.contains("https://a.example/") && html.contains("<html"),
        "{html}"
    );
    assert!(
        rendered.text.contains("Hi <Ada>") && rendered.text.contains("https://a.example/"),
        "{}",
        rendered.text
    );
    assert_eq!(Ok(rendered), render(&source, r#"{"n":"<Ada>"}"#, &LIMITS));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn noise_never_panics(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "{{", "}}", "{%", "%}", "{#", "#}", " a ", "a.b", "if", "for", "in", "endif", "endfor", "|", "upper", "'", "\"",
            "(", ")", "[", "]", "-", "+", "~", "*", "1", "<p>", "</p>", "<!--", "<table><tr>", "é", "\n", "set", "=", "macro", ",",
            "<mjml>", "<mj-body>", "<mj-text>", "</mj-text>", "</mj-body>", "</mjml>", "<mj-raw>", "<", ">", "/>", "&",
        ]), 0..30),
        variables in prop::sample::select(vec!["{}", r#"{"a":1}"#, r#"{"a":{"b":[1,"<"]}}"#, "null", "{\"a\":"]),
    ) {
        let text: String = pieces.concat();
        let _ = html(&text, variables);
        let source = TemplateSource { subject: text.clone(), mjml: Some(text.clone()), ..TemplateSource::default() };
        let _ = render(&source, variables, &LIMITS);
        let source = TemplateSource {
            subject: "x".into(),
            mjml: Some(format!("<mjml><mj-body>{text}</mj-body></mjml>")),
            ..TemplateSource::default()
        };
        let _ = render(&source, variables, &LIMITS);
    }
}

#[test]
fn references_are_found_wherever_they_stand() {
    let source = TemplateSource {
        subject: "{% include 'a' %}".into(),
        html: Some(
            "{% extends \"layout\" %}{% block b %}{% if x %}{% include 'a' ignore missing %}{% else %}{% for i in x %}\
             {% include ['b', 'c'] %}{% else %}{% include 'a' %}{% endfor %}{% endif %}{% endblock %}\
             {% from 'macros' import m %}{% import 'others' as o %}{% call m() %}{% include 'd' %}{% endcall %}\
             {% filter upper %}{% include 'e' %}{% endfilter %}{% set y %}{% include 'f' %}{% endset %}\
             {% with z = 1 %}{% include 'g' %}{% endwith %}{% macro k() %}{% include 'h' %}{% endmacro %}\
             {% autoescape false %}{% include 'i' %}{% endautoescape %}"
                .into(),
        ),
        ..TemplateSource::default()
    };
    let found = relevo_template::references(&source).unwrap();
    let names: Vec<_> = found.iter().map(|r| (r.template.as_str(), r.name.as_str(), r.required)).collect();
    let html = ["layout", "a", "b", "c", "macros", "others", "d", "e", "f", "g", "h", "i"];
    let expected: Vec<_> = html.iter().map(|name| ("html", *name, !matches!(*name, "b" | "c"))).collect();
    assert_eq!(names, [vec![("subject", "a", true)], expected].concat());
    assert_eq!(relevo_template::references(&TemplateSource::default()).unwrap(), []);
}

#[test]
fn a_name_that_is_not_a_text_is_refused() {
    for (include, column) in
        [("{% include which %}", 15), ("{% include ['a', 1] %}", 15), ("{% extends a ~ 'b' %}", 15)]
    {
        let source = TemplateSource { html: Some(format!("x\n <p>{include}")), ..TemplateSource::default() };
        let error = relevo_template::references(&source).unwrap_err();
        assert_eq!(
            place(&error),
            ("syntax", "html", None, Some(2), Some(column + 1)),
            "{include}: {error:?}"
        );
    }
    let broken = TemplateSource { text: Some("{% include %}".into()), ..TemplateSource::default() };
    assert_eq!(relevo_template::references(&broken).unwrap_err().template, "text");
}
