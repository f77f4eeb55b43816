//! Writes a store into a file.

use std::io::{BufWriter, Write};

use data_encoding::{BASE64, HEXLOWER};
use futures::TryStreamExt as _;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::cell::Cell;
use super::schema::{Schema, Table};
use super::{EndLine, FORMAT, FileLine, Head, TableLine, TransferError, TransferFile, Transferred};
use crate::DomainSettings;
use crate::control::{ControlStore, Database};

/// Writes lines, and sums them up.
struct Lines<W: Write> {
    out: BufWriter<W>,
    sum: Sha256,
}

impl<W: Write> Lines<W> {
    fn put(&mut self, line: &impl Serialize) -> Result<(), TransferError> {
        let mut octets = serde_json::to_vec(line).map_err(std::io::Error::from)?;
        octets.push(b'\n');
        self.sum.update(&octets);
        Ok(self.out.write_all(&octets)?)
    }
}

impl ControlStore {
    /// Writes everything that the store has, as it is at one moment, and files behind it: `files` gets
    /// the paths of the domains' private keys, which are not in the store. Others may go on to use the
    /// store.
    ///
    /// # Errors
    /// The store fails, or the file cannot be written.
    pub async fn export(
        &self,
        out: impl Write,
        files: impl FnOnce(Vec<String>) -> Result<Vec<TransferFile>, String>,
    ) -> Result<Transferred, TransferError> {
        let schema = Schema::own().await?;
        let mut lines = Lines { out: BufWriter::new(out), sum: Sha256::new() };
        let (mut end, mut keys) = (Transferred::default(), Vec::new());
        lines.put(&Head { relevo_store: FORMAT, migration: schema.migration })?;
        /// Writes the tables of one database, in one transaction.
        macro_rules! tables {
            ($transaction:ident, $is_postgres:literal) => {
                for table in &schema.tables {
                    put_table(&mut lines, table)?;
                    end.tables += 1;
                    let statement = sqlx::query(sqlx::AssertSqlSafe(table.select($is_postgres)));
                    let mut rows = statement.persistent(false).fetch(&mut *$transaction);
                    while let Some(row) = rows.try_next().await? {
                        let cells = table.columns.iter().enumerate();
                        let cells = cells.map(|(at, (_, kind))| Cell::read(&row, at, *kind));
                        let cells = cells.collect::<Result<Vec<_>, _>>()?;
                        keys.extend(keys_of(table, &cells));
                        lines.put(&cells.iter().map(Cell::to_json).collect::<Vec<Value>>())?;
                        end.rows += 1;
                    }
                }
            };
        }
        match &self.database {
            Database::Sqlite { reader, .. } => {
                let mut transaction = reader.begin().await?;
                tables!(transaction, false);
            }
            Database::Postgres(pool) => {
                let mut transaction = pool.begin().await?;
                let mode = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY";
                sqlx::query(mode).execute(&mut *transaction).await?;
                // The server waits for whoever reads the file.
                sqlx::query("SET LOCAL statement_timeout = 0").execute(&mut *transaction).await?;
                tables!(transaction, true);
            }
        }
        for TransferFile { path, content } in files(keys).map_err(TransferError::File)? {
            lines.put(&FileLine { file: path, base64: BASE64.encode(&content) })?;
            end.files += 1;
        }
        let sha256 = HEXLOWER.encode(&lines.sum.clone().finalize());
        lines.put(&EndLine { end, sha256 })?;
        lines.out.flush()?;
        Ok(end)
    }
}

fn put_table<W: Write>(lines: &mut Lines<W>, table: &Table) -> Result<(), TransferError> {
    let columns = table.names().into_iter().map(str::to_owned).collect();
    lines.put(&TableLine { table: table.name.clone(), columns })
}

/// Files of private keys that a row names.
fn keys_of(table: &Table, row: &[Cell]) -> Vec<String> {
    let settings = table.columns.iter().zip(row).find(|((column, _), _)| column == "settings");
    let Some((_, Cell::Text(Some(settings)))) = settings.filter(|_| table.name == "domain") else {
        return Vec::new();
    };
    // Settings that cannot be read are moved as they are.
    let settings = serde_json::from_str::<DomainSettings>(settings).ok();
    settings.into_iter().flat_map(|settings| settings.dkim).map(|key| key.key).collect()
}
