//! The templates that a source names: in `include`, `extends`, `import` and `from`.

use minijinja::machinery::{ast, parse};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use relevo_mailkit::model::{TemplateError, TemplateReference, TemplateSource};

use crate::engine;
use crate::failure::{SYNTAX, failure};

/// References of a source that are listed.
const MAX_REFERENCES: usize = 100;

/// Lists the templates that the sources name, each once for each source, in their order.
///
/// # Errors
/// A source is not well formed, or the name of a template is not a text in quotes.
pub fn references(source: &TemplateSource) -> Result<Vec<TemplateReference>, TemplateError> {
    let parts = [
        ("subject", Some(&source.subject)),
        ("html", source.html.as_ref()),
        ("mjml", source.mjml.as_ref()),
        ("text", source.text.as_ref()),
    ];
    let mut found = Vec::new();
    for (place, text) in parts {
        let Some(text) = text else { continue };
        engine::check_length(place, text)?;
        let tree = parse(text, place, SyntaxConfig::default())
            .map_err(|error| engine::from_error(place, &[(place, text)], &error))?;
        let mut walk = Walk { place, found: &mut found };
        walk.statement(&tree)?;
    }
    Ok(found)
}

struct Walk<'a> {
    place: &'static str,
    found: &'a mut Vec<TemplateReference>,
}

impl Walk<'_> {
    fn all(&mut self, statements: &[ast::Stmt<'_>]) -> Result<(), TemplateError> {
        statements.iter().try_for_each(|statement| self.statement(statement))
    }

    fn statement(&mut self, statement: &ast::Stmt<'_>) -> Result<(), TemplateError> {
        match statement {
            ast::Stmt::Template(template) => self.all(&template.children),
            ast::Stmt::ForLoop(each) => {
                self.all(&each.body)?;
                self.all(&each.else_body)
            }
            ast::Stmt::IfCond(condition) => {
                self.all(&condition.true_body)?;
                self.all(&condition.false_body)
            }
            ast::Stmt::WithBlock(block) => self.all(&block.body),
            ast::Stmt::SetBlock(block) => self.all(&block.body),
            ast::Stmt::AutoEscape(block) => self.all(&block.body),
            ast::Stmt::FilterBlock(block) => self.all(&block.body),
            ast::Stmt::Block(block) => self.all(&block.body),
            ast::Stmt::Macro(definition) => self.all(&definition.body),
            ast::Stmt::CallBlock(call) => self.all(&call.macro_decl.body),
            ast::Stmt::Import(import) => self.name(&import.expr, true),
            ast::Stmt::FromImport(import) => self.name(&import.expr, true),
            ast::Stmt::Extends(extends) => self.name(&extends.name, true),
            ast::Stmt::Include(include) => self.name(&include.name, !include.ignore_missing),
            _ => Ok(()),
        }
    }

    /// A text, or a list of texts of which the first that exists is used.
    fn name(&mut self, expression: &ast::Expr<'_>, required: bool) -> Result<(), TemplateError> {
        let value = expression.as_const();
        if let Some(list) = value.as_ref().filter(|value| value.kind() == ValueKind::Seq)
            && let Ok(names) = list.try_iter()
        {
            for name in names {
                let Some(name) = name.as_str().map(str::to_owned) else {
                    return Err(self.dynamic(expression));
                };
                self.add(name, false)?;
            }
            return Ok(());
        }
        match value.as_ref().and_then(|value| value.as_str()) {
            Some(name) => self.add(name.to_owned(), required),
            None => Err(self.dynamic(expression)),
        }
    }

    fn add(&mut self, name: String, required: bool) -> Result<(), TemplateError> {
        if let Some(known) = self.found.iter_mut().find(|r| r.name == name && r.template == self.place) {
            known.required |= required;
            return Ok(());
        }
        if self.found.len() == MAX_REFERENCES {
            let message = format!("more than {MAX_REFERENCES} other templates are named");
            return Err(failure(SYNTAX, self.place, message));
        }
        self.found.push(TemplateReference { name, template: self.place.to_owned(), required });
        Ok(())
    }

    fn dynamic(&self, expression: &ast::Expr<'_>) -> TemplateError {
        let span = expression.span();
        let mut error = failure(SYNTAX, self.place, "the name of another template must be a text in quotes");
        error.line = Some(u32::from(span.start_line));
        error.column = Some(u32::from(span.start_col) + 1);
        error
    }
}
