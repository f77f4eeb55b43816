//! The tables of a store, as an empty database that the migrations have made shows them.

use std::collections::BTreeMap;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

use super::cell::{Cell, CellKind};
use crate::ControlStoreError;
use crate::control::{SQLITE, migrator, newest};

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    /// In the order of the table.
    pub(super) columns: Vec<(String, CellKind)>,
    /// The columns of the primary key, in its order.
    key: Vec<String>,
    /// Rows that the migrations themselves have written.
    pub(super) initial: Vec<Vec<Cell>>,
}

impl Table {
    /// The names of its columns.
    pub(super) fn names(&self) -> Vec<&str> {
        self.columns.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Reads all rows in the order of the primary key, which is the same in both databases.
    pub(super) fn select(&self, is_postgres: bool) -> String {
        let kind =
            |name: &String| self.columns.iter().find(|(column, _)| column == name).map(|(_, kind)| *kind);
        let key = self.key.iter().map(|name| match kind(name) {
            Some(CellKind::Text) if is_postgres => format!("\"{name}\" COLLATE \"C\""),
            _ => format!("\"{name}\""),
        });
        let key: Vec<_> = key.collect();
        format!("SELECT {} FROM \"{}\" ORDER BY {}", quoted(&self.names()), self.name, key.join(", "))
    }

    /// Adds so many rows.
    pub(super) fn insert(&self, rows: usize) -> String {
        let placeholders = crate::control::placeholders(rows, self.columns.len(), "");
        format!("INSERT INTO \"{}\" ({}) VALUES {placeholders}", self.name, quoted(&self.names()))
    }
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

/// All tables, parents before children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Schema {
    /// The last migration.
    pub(super) migration: i64,
    pub(super) tables: Vec<Table>,
}

impl Schema {
    /// Of this program.
    pub(super) async fn own() -> Result<Self, ControlStoreError> {
        // One connection: each has a database of its own.
        let options = SqliteConnectOptions::new().in_memory(true).foreign_keys(true);
        let memory = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
        migrator(SQLITE).run(&memory).await?;
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
                   AND name <> '_sqlx_migrations' ORDER BY name";
        let names: Vec<String> = sqlx::query_scalar(sql).fetch_all(&memory).await?;
        let (mut found, mut parents) = (BTreeMap::new(), BTreeMap::new());
        for name in names {
            let sql = "SELECT \"table\" FROM pragma_foreign_key_list($1)";
            let above: Vec<String> = sqlx::query_scalar(sql).bind(&name).fetch_all(&memory).await?;
            parents.insert(name.clone(), above);
            found.insert(name.clone(), table(&memory, name).await?);
        }
        memory.close().await;
        Ok(Self { migration: newest(), tables: in_order(found, &parents) })
    }
}

async fn table(memory: &SqlitePool, name: String) -> Result<Table, ControlStoreError> {
    let sql = "SELECT name, type, pk FROM pragma_table_info($1) ORDER BY cid";
    let rows: Vec<(String, String, i64)> = sqlx::query_as(sql).bind(&name).fetch_all(memory).await?;
    let unknown =
        |column: &str| ControlStoreError::File(format!("{name}.{column} has a type that cannot be moved"));
    let mut table = Table { name: name.clone(), columns: Vec::new(), key: Vec::new(), initial: Vec::new() };
    let mut key: Vec<(i64, String)> = Vec::new();
    for (column, kind, place) in rows {
        let kind = CellKind::of(&kind).ok_or_else(|| unknown(&column))?;
        if place > 0 {
            key.push((place, column.clone()));
        }
        table.columns.push((column, kind));
    }
    key.sort_unstable();
    table.key = key.into_iter().map(|(_, column)| column).collect();
    if table.key.is_empty() {
        return Err(ControlStoreError::File(format!("{name} has no primary key and cannot be moved")));
    }
    for row in sqlx::query(sqlx::AssertSqlSafe(table.select(false))).fetch_all(memory).await? {
        let cells = table.columns.iter().enumerate().map(|(at, (_, kind))| Cell::read(&row, at, *kind));
        table.initial.push(cells.collect::<Result<_, _>>()?);
    }
    Ok(table)
}

/// Parents first; by name otherwise.
fn in_order(mut left: BTreeMap<String, Table>, parents: &BTreeMap<String, Vec<String>>) -> Vec<Table> {
    let mut ordered = Vec::new();
    while !left.is_empty() {
        let waits = |name: &String| {
            let above = parents.get(name);
            above.is_some_and(|above| above.iter().any(|parent| parent != name && left.contains_key(parent)))
        };
        // Tables that refer to each other in a ring would be found by the contract.
        let next = left.keys().find(|name| !waits(name)).or_else(|| left.keys().next()).cloned();
        ordered.extend(next.and_then(|next| left.remove(&next)));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_table_of_the_migrations_is_there_and_parents_come_first() {
        let schema = Schema::own().await.expect("migrates");
        let place = |name: &str| schema.tables.iter().position(|table| table.name == name).expect(name);
        for line in SQLITE.iter().flat_map(|(_, _, sql)| sql.lines()) {
            if let Some(rest) = line.strip_prefix("CREATE TABLE ") {
                let name = rest.split([' ', '(']).next().expect("a name");
                place(name);
            }
        }
        assert!(place("tenant") < place("credential"));
        assert!(place("webhook_endpoint") < place("webhook_delivery"));
        assert!(place("webhook_delivery") < place("webhook_attempt"));
        assert_eq!(schema.migration, newest());
        let revision = &schema.tables[place("revision")];
        assert_eq!(revision.initial, [[Cell::Text(Some("plugins".into())), Cell::Integer(Some(0))]]);
    }
}
