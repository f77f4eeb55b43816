//! Tables that write down what is changed in them, for the record of a group.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;

use redb::{AccessGuard, Key, StorageError, Table, Value};

use super::record::RowChange;
use crate::index::{IndexError, TableId};

/// Where changes are written down; nowhere without a log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes(Option<Rc<RefCell<Vec<RowChange>>>>);

impl Changes {
    /// To be taken later, if there is a log.
    pub(crate) fn noted(is_noted: bool) -> Self {
        Self(is_noted.then(Rc::default))
    }

    /// What was written down so far.
    pub(crate) fn take(&self) -> Vec<RowChange> {
        self.0.as_ref().map(|changes| std::mem::take(&mut *changes.borrow_mut())).unwrap_or_default()
    }
}

/// A table of the index, open for writing. It reads as a [`Table`].
pub(crate) struct LoggedTable<'t, K: Key + 'static, V: Value + 'static> {
    table: Table<'t, K, V>,
    id: TableId,
    changes: Changes,
}

impl<'t, K: Key + 'static, V: Value + 'static> Deref for LoggedTable<'t, K, V> {
    type Target = Table<'t, K, V>;

    fn deref(&self) -> &Self::Target {
        &self.table
    }
}

impl<'t, K: Key + 'static, V: Value + 'static> LoggedTable<'t, K, V> {
    pub(crate) fn new(table: Table<'t, K, V>, id: TableId, changes: &Changes) -> Self {
        Self { table, id, changes: changes.clone() }
    }

    /// Writes a row; the value before, if there was one.
    pub(crate) fn insert<'k, 'v>(
        &mut self,
        key: impl Borrow<K::SelfType<'k>>,
        value: impl Borrow<V::SelfType<'v>>,
    ) -> Result<Option<AccessGuard<'_, V>>, StorageError> {
        self.note(key.borrow(), Some(value.borrow()));
        self.table.insert(key, value)
    }

    /// Deletes a row; its value, if there was one.
    pub(crate) fn remove<'k>(
        &mut self,
        key: impl Borrow<K::SelfType<'k>>,
    ) -> Result<Option<AccessGuard<'_, V>>, StorageError> {
        self.note(key.borrow(), None);
        self.table.remove(key)
    }

    fn note(&self, key: &K::SelfType<'_>, value: Option<&V::SelfType<'_>>) {
        if let Some(changes) = &self.changes.0 {
            let key = K::as_bytes(key).as_ref().to_vec();
            let value = value.map(|value| V::as_bytes(value).as_ref().to_vec());
            changes.borrow_mut().push(RowChange { table: self.id as u8, key, value });
        }
    }

    /// Does what a record of the log says. It is not written down again.
    pub(crate) fn apply(&mut self, change: &RowChange) -> Result<(), IndexError> {
        let fits = |width: Option<usize>, octets: &[u8]| width.is_none_or(|width| width == octets.len());
        let is_text = matches!(self.id, TableId::Meta | TableId::Quarantine);
        let is_key =
            fits(K::fixed_width(), &change.key) && (!is_text || std::str::from_utf8(&change.key).is_ok());
        let is_value = change.value.as_ref().is_none_or(|value| fits(V::fixed_width(), value));
        if !is_key || !is_value {
            return Err(IndexError::Other(format!("a row of the log does not fit the table {:?}", self.id)));
        }
        let key = K::from_bytes(&change.key);
        match &change.value {
            Some(value) => drop(self.table.insert(key, V::from_bytes(value))?),
            None => drop(self.table.remove(key)?),
        }
        Ok(())
    }
}
