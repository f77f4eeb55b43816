//! A value of a row: in the database, and in a line of the file.

use data_encoding::BASE64;
use serde_json::{Value, json};
use sqlx::query::Query;
use sqlx::{ColumnIndex, Database, Decode, Encode, Row, Type};

/// The type of a column, the same in both databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CellKind {
    Integer,
    Text,
    Octets,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    Integer(Option<i64>),
    Text(Option<String>),
    Octets(Option<Vec<u8>>),
}

impl CellKind {
    /// Reads the name that SQLite has for it.
    pub(super) fn of(name: &str) -> Option<Self> {
        match name {
            "INTEGER" => Some(Self::Integer),
            "TEXT" => Some(Self::Text),
            "BLOB" => Some(Self::Octets),
            _ => None,
        }
    }

    /// Reads a value of a line; none: it is of another type.
    pub(super) fn parse(self, value: Value) -> Option<Cell> {
        Some(match (self, value) {
            (Self::Integer, Value::Null) => Cell::Integer(None),
            (Self::Integer, Value::Number(number)) => Cell::Integer(Some(number.as_i64()?)),
            (Self::Text, Value::Null) => Cell::Text(None),
            (Self::Text, Value::String(text)) => Cell::Text(Some(text)),
            (Self::Octets, Value::Null) => Cell::Octets(None),
            (Self::Octets, Value::String(text)) => Cell::Octets(Some(BASE64.decode(text.as_bytes()).ok()?)),
            _ => return None,
        })
    }
}

impl Cell {
    /// Reads the value of a column.
    pub(super) fn read<'r, R>(row: &'r R, at: usize, kind: CellKind) -> Result<Self, sqlx::Error>
    where
        R: Row,
        usize: ColumnIndex<R>,
        i64: Decode<'r, R::Database> + Type<R::Database>,
        String: Decode<'r, R::Database> + Type<R::Database>,
        Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
    {
        Ok(match kind {
            CellKind::Integer => Self::Integer(row.try_get(at)?),
            CellKind::Text => Self::Text(row.try_get(at)?),
            CellKind::Octets => Self::Octets(row.try_get(at)?),
        })
    }

    /// As a line has it.
    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Integer(number) => json!(number),
            Self::Text(text) => json!(text),
            Self::Octets(octets) => json!(octets.as_ref().map(|octets| BASE64.encode(octets))),
        }
    }

    /// Binds it to the next placeholder.
    pub(super) fn bind<'q, DB>(
        self,
        query: Query<'q, DB, <DB as Database>::Arguments>,
    ) -> Query<'q, DB, <DB as Database>::Arguments>
    where
        DB: Database,
        Option<i64>: Encode<'q, DB> + Type<DB>,
        Option<String>: Encode<'q, DB> + Type<DB>,
        Option<Vec<u8>>: Encode<'q, DB> + Type<DB>,
    {
        match self {
            Self::Integer(number) => query.bind(number),
            Self::Text(text) => query.bind(text),
            Self::Octets(octets) => query.bind(octets),
        }
    }

    /// Octets that it has, about.
    pub(super) fn weight(&self) -> usize {
        8 + match self {
            Self::Integer(_) => 0,
            Self::Text(text) => text.as_ref().map_or(0, String::len),
            Self::Octets(octets) => octets.as_ref().map_or(0, Vec::len),
        }
    }
}
