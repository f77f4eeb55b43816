//! Mistakes in a request, in words for the developer who made it.

use std::fmt;

/// One mistake and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The path of the value, such as `recipients[3].email`; empty where the whole request is meant.
    pub param: String,
    /// The mistake and its remedy, one sentence without the path.
    pub message: String,
}

impl Problem {
    /// A mistake at `param`.
    #[must_use]
    pub fn new(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { param: param.into(), message: message.into() }
    }

    /// The same mistake in a request that is itself a value at `prefix`, such as `[3]` of a batch.
    #[must_use]
    pub fn within(self, prefix: &str) -> Self {
        let param = match self.param.as_str() {
            "" => prefix.to_owned(),
            param if param.starts_with('[') => format!("{prefix}{param}"),
            param => format!("{prefix}.{param}"),
        };
        Self { param, ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.param.as_str() {
            "" => f.write_str(&self.message),
            param => write!(f, "`{param}`: {}", self.message),
        }
    }
}

/// A request that asks for nothing that can be done. Nothing of it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvalidRequest {
    /// The octets are not JSON.
    Json {
        /// From 1.
        line: usize,
        /// From 1, in octets.
        column: usize,
        /// The mistake.
        message: String,
    },
    /// JSON, but not a request: at least one mistake.
    Fields(Vec<Problem>),
}

impl InvalidRequest {
    /// A single mistake at `param`.
    #[must_use]
    pub fn field(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Fields(vec![Problem::new(param, message)])
    }
}

impl fmt::Display for InvalidRequest {
    /// The first mistake.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json { line, column, message } => {
                write!(f, "the body is not JSON: {message} at line {line}, column {column}")
            }
            Self::Fields(problems) => match problems.first() {
                Some(problem) => problem.fmt(f),
                None => f.write_str("the request is not valid"),
            },
        }
    }
}

impl std::error::Error for InvalidRequest {}
