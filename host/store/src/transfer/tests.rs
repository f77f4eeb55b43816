//! Every table with rows, moved to another store and back.

use super::cell::{Cell, CellKind};
use super::schema::{Schema, Table};
use super::{TransferError, TransferFile, Transferred};
use crate::control::{ControlStore, Database};
use crate::testing::sqlite;

/// Rows of each table.
const ROWS: i64 = 3;

/// A value that refers to the same row of the tables above. Every third is none, where that is allowed.
fn cell(kind: CellKind, n: i64, is_nullable: bool) -> Cell {
    let none = is_nullable && n == 2;
    match kind {
        CellKind::Integer => Cell::Integer((!none).then(|| if n == 3 { i64::MIN } else { i64::MAX - n })),
        CellKind::Text => Cell::Text(
            (!none).then(|| format!("{n} \"'\\\n\u{1}\u{7f}ü\u{1f4ec}\u{202e}; DROP TABLE tenant --")),
        ),
        CellKind::Octets => Cell::Octets((!none).then(|| vec![0, 255, u8::try_from(n).expect("small")])),
    }
}

/// Puts rows into every table of a SQLite store.
async fn fill(store: &ControlStore) {
    let Database::Sqlite { writer, .. } = &store.database else { unreachable!("SQLite") };
    for Table { name, columns, .. } in &Schema::own().await.expect("migrates").tables {
        let sql = "SELECT \"notnull\" = 0 AND pk = 0 FROM pragma_table_info($1) ORDER BY cid";
        let nullable: Vec<bool> = sqlx::query_scalar(sql).bind(name).fetch_all(writer).await.expect("reads");
        for n in 1..=ROWS {
            let names =
                columns.iter().map(|(column, _)| format!("\"{column}\"")).collect::<Vec<_>>().join(", ");
            let places = crate::control::placeholders(1, columns.len(), "");
            let sql = sqlx::AssertSqlSafe(format!("INSERT INTO \"{name}\" ({names}) VALUES {places}"));
            let cells =
                columns.iter().zip(&nullable).map(|((_, kind), is_nullable)| cell(*kind, n, *is_nullable));
            let query = cells.fold(sqlx::query(sql), |query, cell| cell.bind(query));
            query.execute(writer).await.expect(name);
        }
    }
}

async fn export(store: &ControlStore, files: &[TransferFile]) -> (Vec<u8>, Transferred) {
    let mut out = Vec::new();
    let done = store.export(&mut out, |_| Ok(files.to_vec())).await.expect("exports");
    (out, done)
}

async fn import(store: &ControlStore, octets: &[u8]) -> Result<Transferred, TransferError> {
    store.import(octets, |_| Ok(())).await
}

fn key() -> TransferFile {
    TransferFile { path: "dkim/a.pem".into(), content: b"\0secret\xff".to_vec() }
}

#[tokio::test]
async fn a_store_moves_with_everything_that_it_has() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = (sqlite(folder.path(), "one").await, sqlite(folder.path(), "two").await);
    fill(&one).await;
    let (file, done) = export(&one, &[key()]).await;
    let tables = Schema::own().await.expect("migrates").tables.len() as u64;
    // One row of `revision` is the migrations'.
    assert_eq!(done, Transferred { tables, rows: tables * 3 + 1, files: 1 });
    let mut files = Vec::new();
    let imported = two.import(file.as_slice(), |found| {
        files = found.to_vec();
        Ok(())
    });
    assert_eq!(imported.await.expect("imports"), done);
    assert_eq!(files, [key()]);
    assert!(export(&two, &[key()]).await.0 == file, "both have the same");
    let again = import(&two, &file).await.expect_err("it is not empty");
    assert!(matches!(again, TransferError::NotEmpty(_)), "{again}");
}

#[tokio::test]
async fn a_file_that_is_cut_or_changed_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = (sqlite(folder.path(), "one").await, sqlite(folder.path(), "two").await);
    fill(&one).await;
    let ((file, _), (empty, _)) = (export(&one, &[key()]).await, export(&two, &[]).await);
    let ends: Vec<_> = (0..file.len()).filter(|at| file[*at] == b'\n').collect();
    // After each line, and within some.
    for cut in ends.iter().step_by(9).map(|end| end + 1).chain((0..file.len()).step_by(1_511)) {
        if cut < file.len() {
            import(&two, &file[..cut]).await.expect_err("cut");
        }
    }
    for at in (0..file.len()).step_by(1_013) {
        let mut changed = file.clone();
        changed[at] ^= 4;
        import(&two, &changed).await.expect_err("changed");
    }
    // A line less, or twice.
    for pair in ends.windows(2).step_by(11) {
        let (before, line, after) = (&file[..=pair[0]], &file[pair[0] + 1..=pair[1]], &file[pair[1] + 1..]);
        import(&two, &[before, after].concat()).await.expect_err("a line less");
        import(&two, &[before, line, line, after].concat()).await.expect_err("a line twice");
    }
    let refused = two.import(file.as_slice(), |_| Err("the disk is full".into())).await.expect_err("no room");
    assert_eq!(refused.to_string(), "the disk is full");
    assert!(export(&two, &[]).await.0 == empty, "nothing is left of them");
    import(&two, &file).await.expect("the whole one");
}

#[tokio::test]
async fn files_of_other_versions_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = sqlite(folder.path(), "one").await;
    let text = String::from_utf8(export(&store, &[]).await.0).expect("text");
    let own = crate::control::newest();
    for other in [own - 1, own + 1] {
        let text = text.replacen(&format!("\"migration\":{own}"), &format!("\"migration\":{other}"), 1);
        let error = import(&store, text.as_bytes()).await.expect_err("another version").to_string();
        assert!(
            error.contains(&format!("migration {other}")) && error.contains("version that wrote it"),
            "{error}"
        );
    }
    let newer = text.replacen("\"relevo_store\":1", "\"relevo_store\":2", 1);
    let error = import(&store, newer.as_bytes()).await.expect_err("another format").to_string();
    assert!(error.contains("newer relay"), "{error}");
    for other in ["", "hello\n", "{\"a\":1}\n", "\u{0}"] {
        import(&store, other.as_bytes()).await.expect_err(other);
    }
}

/// The export is of one moment, while others write.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_of_one_moment() {
    use crate::{DirectoryStore as _, TenantRecord, TenantSettings};

    struct Slow<'a>(Vec<u8>, Option<Box<dyn FnOnce() + Send + 'a>>);
    impl std::io::Write for Slow<'_> {
        fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
            if let Some(first) = self.1.take() {
                first();
            }
            self.0.extend_from_slice(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = (sqlite(folder.path(), "one").await, sqlite(folder.path(), "two").await);
    let put = async |id: String| {
        let tenant = TenantRecord { id, settings: TenantSettings::default() };
        one.put_tenant(&tenant).await.expect("adds");
    };
    for n in 0..2_000 {
        put(format!("before{n}")).await;
    }
    let write =
        || tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(put("a".into())));
    let mut out = Slow(Vec::new(), Some(Box::new(write)));
    one.export(&mut out, |_| Ok(Vec::new())).await.expect("exports");
    assert!(out.1.is_none(), "something was written meanwhile");
    import(&two, &out.0).await.expect("imports");
    let (found, now) = (two.directory().await.expect("reads"), one.directory().await.expect("reads"));
    assert_eq!((found.tenants.len(), now.tenants.len()), (2_000, 2_001));
    assert_eq!(found.revision + 1, now.revision);
}

#[tokio::test]
async fn keys_of_domains_are_named() {
    use crate::{DirectoryStore as _, DkimRecord, DomainRecord, DomainSettings};

    let folder = tempfile::tempdir().expect("a folder");
    let store = sqlite(folder.path(), "one").await;
    let dkim =
        |key: &str| DkimRecord { selector: "s".into(), algorithm: "rsa-sha256".into(), key: key.into() };
    for (name, key) in [("a.example", "dkim/1.pem"), ("b.example", "dkim/2.pem")] {
        let settings = DomainSettings { dkim: vec![dkim(key)], ..DomainSettings::default() };
        let domain = DomainRecord { tenant: "acme".into(), name: name.into(), settings, verified_at: None };
        store.put_domain(&domain).await.expect("adds");
    }
    let mut named = Vec::new();
    let exported = store.export(Vec::new(), |keys| {
        named = keys;
        Ok(vec![key()])
    });
    assert_eq!(exported.await.expect("exports").files, 1);
    assert_eq!(named, ["dkim/1.pem", "dkim/2.pem"]);
}

#[cfg(feature = "postgres-tests")]
mod on_postgresql {
    use super::*;
    use crate::testing::postgres;

    #[tokio::test]
    async fn a_store_moves_over_and_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, over) = (sqlite(folder.path(), "one").await, postgres().await);
        let back = sqlite(folder.path(), "back").await;
        fill(&one).await;
        let (file, done) = export(&one, &[key()]).await;
        let ends: Vec<_> = (0..file.len()).filter(|at| file[*at] == b'\n').collect();
        let (empty, _) = export(&over, &[]).await;
        for end in ends.iter().step_by(9).filter(|end| **end + 1 < file.len()) {
            import(&over, &file[..=*end]).await.expect_err("cut");
        }
        assert!(export(&over, &[]).await.0 == empty, "nothing is left of them");
        assert_eq!(import(&over, &file).await.expect("imports"), done);
        let again = import(&over, &file).await.expect_err("it is not empty");
        assert!(matches!(again, TransferError::NotEmpty(_)), "{again}");
        assert!(export(&over, &[key()]).await.0 == file, "PostgreSQL has the same");
        assert_eq!(import(&back, &file).await.expect("imports"), done);
        assert!(export(&back, &[key()]).await.0 == file, "and SQLite again");
    }

    /// Columns of the server's tables as the schema names them.
    #[tokio::test]
    async fn both_databases_have_the_same_tables() {
        let store = postgres().await;
        let Database::Postgres(pool) = &store.database else { unreachable!("PostgreSQL") };
        let sql = "SELECT table_name::TEXT, column_name::TEXT, data_type::TEXT FROM information_schema.columns \
                   WHERE table_schema = current_schema() AND table_name <> '_sqlx_migrations' ORDER BY 1, ordinal_position";
        let found: Vec<(String, String, String)> = sqlx::query_as(sql).fetch_all(pool).await.expect("reads");
        let mut own = Vec::new();
        let mut tables = Schema::own().await.expect("migrates").tables;
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        for table in tables {
            for (column, kind) in table.columns {
                let kind = match kind {
                    CellKind::Integer => "bigint",
                    CellKind::Text => "text",
                    CellKind::Octets => "bytea",
                };
                own.push((table.name.clone(), column, kind.to_owned()));
            }
        }
        assert_eq!(found, own);
    }
}
