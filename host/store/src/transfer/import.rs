//! Reads a file into an empty store.

use std::io::{BufRead, Read};

use data_encoding::{BASE64, HEXLOWER};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::cell::Cell;
use super::schema::{Schema, Table};
use super::{EndLine, FORMAT, FileLine, Head, MAX_LINE, TableLine, TransferError, TransferFile, Transferred};
use crate::control::{ControlStore, Database};

/// Rows that are added at once, unless their octets are enough before.
const ROWS: usize = 100;
/// Octets that are added at once.
const OCTETS: usize = 1 << 20;

/// Reads lines, and sums them up.
struct Lines<R> {
    input: R,
    sum: Sha256,
    number: u64,
    line: Vec<u8>,
}

/// What comes next in the file.
enum Line {
    Row(Vec<Value>),
    Table(TableLine),
    File(TransferFile),
    End(EndLine),
}

impl<R: BufRead> Lines<R> {
    fn damaged<T>(&self, why: impl Into<String>) -> Result<T, TransferError> {
        Err(TransferError::Damaged { line: self.number, why: why.into() })
    }

    /// Reads a line without adding it to the sum.
    fn read(&mut self) -> Result<(), TransferError> {
        self.line.clear();
        self.number += 1;
        let limit = MAX_LINE as u64 + 1;
        self.input.by_ref().take(limit).read_until(b'\n', &mut self.line)?;
        match self.line.last() {
            None => self.damaged("the file ends here: it is cut short"),
            Some(b'\n') => Ok(()),
            Some(_) if self.line.len() > MAX_LINE => self.damaged("the line is too long"),
            Some(_) => self.damaged("the line is cut short"),
        }
    }

    fn parse<T: DeserializeOwned>(&self) -> Result<T, TransferError> {
        serde_json::from_slice(&self.line).or_else(|error| self.damaged(error.to_string()))
    }

    fn head(&mut self) -> Result<Head, TransferError> {
        self.read()?;
        self.sum.update(&self.line);
        match self.parse() {
            Ok(head) => Ok(head),
            Err(_) => self.damaged("the file is not an export of a store"),
        }
    }

    fn next(&mut self) -> Result<Line, TransferError> {
        self.read()?;
        let line = match self.line.get(..5) {
            Some([b'[', ..]) => Line::Row(self.parse()?),
            Some(b"{\"tab") => Line::Table(self.parse()?),
            Some(b"{\"fil") => {
                let FileLine { file, base64 } = self.parse()?;
                match BASE64.decode(base64.as_bytes()) {
                    Ok(content) => Line::File(TransferFile { path: file, content }),
                    Err(_) => return self.damaged("the content of the file is not base64"),
                }
            }
            Some(b"{\"end") => {
                let end: EndLine = self.parse()?;
                if HEXLOWER.encode(&self.sum.clone().finalize()) != end.sha256 {
                    return self.damaged("the checksum does not match: the file was changed");
                }
                if !self.input.fill_buf()?.is_empty() {
                    return self.damaged("something follows the end");
                }
                return Ok(Line::End(end));
            }
            _ => return self.damaged("the line is none of an export"),
        };
        self.sum.update(&self.line);
        Ok(line)
    }

    fn row(&self, table: &Table, row: Vec<Value>) -> Result<Vec<Cell>, TransferError> {
        if row.len() != table.columns.len() {
            return self.damaged(format!("a row of `{}` has {} values", table.name, row.len()));
        }
        let mut cells = Vec::with_capacity(row.len());
        for (value, (column, kind)) in row.into_iter().zip(&table.columns) {
            match kind.parse(value) {
                Some(cell) => cells.push(cell),
                None => return self.damaged(format!("{}.{column} has a value of another type", table.name)),
            }
        }
        Ok(cells)
    }
}

/// The rows of a table that are added next.
#[derive(Default)]
struct Batch {
    rows: Vec<Vec<Cell>>,
    octets: usize,
}

impl Batch {
    fn add(&mut self, row: Vec<Cell>) {
        self.octets += row.iter().map(Cell::weight).sum::<usize>();
        self.rows.push(row);
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= ROWS || self.octets >= OCTETS
    }
}

/// Does all of an import in an open transaction.
macro_rules! import_into {
    ($transaction:ident, $is_postgres:literal, $schema:ident, $lines:ident, $put_files:ident) => {{
        for table in &$schema.tables {
            let sql = format!(
                "SELECT * FROM ({}) AS found LIMIT {}",
                table.select($is_postgres),
                table.initial.len() + 1
            );
            let mut found = Vec::new();
            for row in
                sqlx::query(sqlx::AssertSqlSafe(sql)).persistent(false).fetch_all(&mut *$transaction).await?
            {
                let cells =
                    table.columns.iter().enumerate().map(|(at, (_, kind))| Cell::read(&row, at, *kind));
                found.push(cells.collect::<Result<Vec<_>, _>>()?);
            }
            if found != table.initial {
                return Err(TransferError::NotEmpty(table.name.clone()));
            }
            if !found.is_empty() {
                let sql = format!("DELETE FROM \"{}\"", table.name);
                sqlx::query(sqlx::AssertSqlSafe(sql)).persistent(false).execute(&mut *$transaction).await?;
            }
        }
        let mut tables = $schema.tables.iter();
        let (mut done, mut files, mut batch) = (Transferred::default(), Vec::new(), Batch::default());
        let mut table: Option<&Table> = None;
        loop {
            let line = $lines.next()?;
            let is_row = matches!(line, Line::Row(_));
            if let Some(table) = table
                && (batch.is_full() || (!is_row && !batch.rows.is_empty()))
            {
                let Batch { rows, .. } = std::mem::take(&mut batch);
                let is_usual = rows.len() == ROWS;
                let sql = sqlx::AssertSqlSafe(table.insert(rows.len()));
                let query = sqlx::query(sql).persistent(is_usual);
                let query = rows.into_iter().flatten().fold(query, |query, cell| cell.bind(query));
                if let Err(error) = query.execute(&mut *$transaction).await {
                    return match error.as_database_error() {
                        Some(why) => {
                            $lines.damaged(format!("rows of `{}` before it do not fit: {why}", table.name))
                        }
                        None => Err(error.into()),
                    };
                }
            }
            match line {
                Line::Table(TableLine { table: name, columns }) => {
                    table = tables.next();
                    match table {
                        Some(next) if next.name == name && next.names() == columns => done.tables += 1,
                        _ => {
                            return $lines.damaged(format!(
                                "the table `{name}` is not expected here, or has other columns"
                            ));
                        }
                    }
                }
                Line::Row(row) => match table {
                    Some(table) => {
                        batch.add($lines.row(table, row)?);
                        done.rows += 1;
                    }
                    None => return $lines.damaged("a row of no table"),
                },
                Line::File(file) => {
                    files.push(file);
                    done.files += 1;
                }
                Line::End(end) => {
                    if tables.next().is_some() || end.end != done {
                        return $lines.damaged("tables, rows or files are missing");
                    }
                    break;
                }
            }
        }
        $put_files(&files).map_err(TransferError::File)?;
        $transaction.commit().await?;
        Ok(done)
    }};
}

impl ControlStore {
    /// Reads everything of an export into this store, which must be empty, in one transaction.
    /// `put_files` gets the files that came with it, before the transaction ends.
    ///
    /// # Errors
    /// The store is not empty; the file is of another version, is cut short or was changed.
    pub async fn import(
        &self,
        input: impl BufRead,
        put_files: impl FnOnce(&[TransferFile]) -> Result<(), String>,
    ) -> Result<Transferred, TransferError> {
        let schema = Schema::own().await?;
        let mut lines = Lines { input, sum: Sha256::new(), number: 0, line: Vec::new() };
        let head = lines.head()?;
        if head.relevo_store != FORMAT {
            return lines
                .damaged(format!("the format {} is not known: a newer relay wrote it", head.relevo_store));
        }
        if head.migration != schema.migration {
            return Err(TransferError::OtherVersion { found: head.migration, own: schema.migration });
        }
        match &self.database {
            Database::Sqlite { writer, .. } => {
                let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
                import_into!(transaction, false, schema, lines, put_files)
            }
            Database::Postgres(pool) => {
                let mut transaction = pool.begin().await?;
                // Nobody may write before it is over.
                let names: Vec<_> = schema.tables.iter().map(|table| format!("\"{}\"", table.name)).collect();
                let lock = format!("LOCK TABLE {} IN EXCLUSIVE MODE", names.join(", "));
                sqlx::query(sqlx::AssertSqlSafe(lock)).persistent(false).execute(&mut *transaction).await?;
                import_into!(transaction, true, schema, lines, put_files)
            }
        }
    }
}
