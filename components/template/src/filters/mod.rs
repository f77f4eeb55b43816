//! Filters for people's mail: dates, money, numbers and plurals in the recipient's language.
//!
//! | filter | example | result |
//! | --- | --- | --- |
//! | `date(style, tz, lang)` | `"2026-12-24T18:00:00Z"\|date("long", tz="Europe/Madrid", lang="es")` | `24 de diciembre de 2026` |
//! | `money(currency, lang)` | `1234.5\|money("EUR", lang="de")` | `1.234,50 €` |
//! | `number(decimals, lang)` | `1234567\|number(lang="en")` | `1,234,567` |
//! | `plural(one, other, lang)` | `3\|plural("item", "items")` | `items` |
//!
//! `lang` is a language tag such as `es` or `es-MX`; its first part counts. Without it the language is English. A
//! language that is not known is an error, as a misspelt variable is.

mod date;
mod language;
mod number;

use minijinja::{Environment, Error, ErrorKind, Value};

/// Adds the filters.
pub(crate) fn add_to(environment: &mut Environment<'_>) {
    environment.add_filter("date", date::date);
    environment.add_filter("money", number::money);
    environment.add_filter("number", number::number);
    environment.add_filter("plural", number::plural);
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// A filter's answer to a variable that is not there. The engine knows its name.
fn defined(value: &Value) -> Result<&Value, Error> {
    if value.is_undefined() { Err(ErrorKind::UndefinedError.into()) } else { Ok(value) }
}
