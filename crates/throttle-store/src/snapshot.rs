//! A consistent view of a store, which the server may write to meanwhile.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use redb::{
    Database, Key, ReadOnlyTable, ReadTransaction, ReadableDatabase as _, ReadableTable as _,
    ReadableTableMetadata as _, TableDefinition, TableError, TableHandle as _, Value,
};
use throttle_runtime::{Meta, Record, StoreError, UnixTime};

use crate::{
    engine::{self, damaged, guarded},
    format::{Damage, Names, decode_absent, decode_peer, decode_semaphore, token},
    tables::{ABSENT, FORMAT, META, PEERS, SEMAPHORES, meta},
};

/// What a store gives to its records, one after the other.
pub type Receive<'a> = dyn FnMut(Record) -> Result<(), StoreError> + 'a;

/// How many records there are of each kind.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Semaphores.
    pub semaphores: u64,
    /// Peers.
    pub peers: u64,
    /// Numbers of peers that are gone.
    pub absent: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { semaphores, peers, absent } = self;
        write!(f, "{semaphores} semaphores, {peers} peers and {absent} absent peers")
    }
}

/// Something that holds the records of a server.
pub trait Records {
    /// The meta record, or `None` if there is nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be read or is damaged.
    fn meta(&self) -> Result<Option<Meta>, StoreError>;

    /// How many records there are.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if they cannot be read.
    fn counts(&self) -> Result<Counts, StoreError>;

    /// Passes every record to `receive`, as [`Store::load`](throttle_runtime::Store::load) does.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if they cannot be read or are damaged, and the error of `receive`.
    fn records(&self, receive: &mut Receive<'_>) -> Result<Option<Meta>, StoreError>;
}

impl Records for Snapshot {
    fn meta(&self) -> Result<Option<Meta>, StoreError> {
        self.meta()
    }

    fn counts(&self) -> Result<Counts, StoreError> {
        self.counts()
    }

    fn records(&self, receive: &mut Receive<'_>) -> Result<Option<Meta>, StoreError> {
        self.records(receive)
    }
}

/// Takes snapshots of a store that somebody else owns and writes to.
#[derive(Clone)]
pub struct Reader {
    name: Arc<str>,
    database: Weak<Database>,
}

impl Reader {
    pub(crate) fn new(name: Arc<str>, database: &Arc<Database>) -> Self {
        Self { name, database: Arc::downgrade(database) }
    }

    /// The state after the latest batch that was written.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store was closed, or if it cannot be read.
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let database = self.database.upgrade();
        let database =
            database.ok_or_else(|| StoreError::new(format!("{} was closed", self.name)))?;
        Snapshot::take(&self.name, &database)
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reader").field(&self.name).finish()
    }
}

/// The state of a store after a batch. Later batches do not change it.
///
/// While it lives, the file cannot reuse the space of records that later batches replace, so it should be dropped
/// soon. It cannot be read any more after its store was closed.
pub struct Snapshot {
    name: Arc<str>,
    transaction: ReadTransaction,
}

impl Snapshot {
    pub(crate) fn take(name: &Arc<str>, database: &Database) -> Result<Self, StoreError> {
        let transaction = guarded(name, || {
            let transaction = database.begin_read();
            transaction.map_err(|error| engine::failed(name, "cannot be read", error))
        })?;
        Ok(Self { name: Arc::clone(name), transaction })
    }

    /// Whether no table was ever written.
    pub(crate) fn is_new(&self) -> Result<bool, StoreError> {
        let tables = self.transaction.list_tables();
        Ok(tables.map_err(|error| self.failed(error))?.next().is_none())
    }

    /// The meta record, or `None` if the store is new and empty. Refuses a format that this version cannot read.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read or is damaged.
    pub fn meta(&self) -> Result<Option<Meta>, StoreError> {
        guarded(&self.name, || self.read_meta())
    }

    fn read_meta(&self) -> Result<Option<Meta>, StoreError> {
        let table = self.checked_meta_table()?;
        let Some(id) = self.number(&table, meta::ID)? else {
            return match self.counts()? == Counts::default() {
                true => Ok(None),
                false => Err(StoreError::new(format!(
                    "{} is not complete, because its first filling was interrupted: start the server again",
                    self.name
                ))),
            };
        };
        let need = |key| {
            let missing = || self.damage("meta", &key, &Damage("it is missing".to_owned()));
            self.number(&table, key)?.ok_or_else(missing)
        };
        let token_floor = token(need(meta::TOKEN_FLOOR)?)
            .map_err(|damage| self.damage("meta", &meta::TOKEN_FLOOR, &damage))?;
        Ok(Some(Meta { id, made_at: UnixTime(need(meta::MADE_AT)?), token_floor }))
    }

    /// Whether there are records but no meta record.
    pub(crate) fn is_unfinished(&self) -> Result<bool, StoreError> {
        guarded(&self.name, || {
            let table = self.checked_meta_table()?;
            Ok(self.number(&table, meta::ID)?.is_none() && self.counts()? != Counts::default())
        })
    }

    /// The table of a format that this version can read.
    fn checked_meta_table(&self) -> Result<ReadOnlyTable<&'static str, u64>, StoreError> {
        let Some(table) = self.table(META)? else {
            return Err(StoreError::new(format!(
                "{} is a redb file of another program: give another path, or move the file away",
                self.name
            )));
        };
        match self.number(&table, meta::FORMAT)? {
            Some(FORMAT) => Ok(table),
            Some(format) => Err(StoreError::new(format!(
                "{} has format {format}, and this version of Throttle reads format {FORMAT}: use the version that \
                 wrote it, or export it with that one and import it with this one",
                self.name
            ))),
            None => Err(self.damage("meta", &meta::FORMAT, &Damage("it is missing".to_owned()))),
        }
    }

    fn number(
        &self,
        table: &ReadOnlyTable<&'static str, u64>,
        key: &str,
    ) -> Result<Option<u64>, StoreError> {
        match table.get(key) {
            Ok(number) => Ok(number.map(|number| number.value())),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// How many records there are. O(1).
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        guarded(&self.name, || {
            Ok(Counts {
                semaphores: self.len(SEMAPHORES)?,
                peers: self.len(PEERS)?,
                absent: self.len(ABSENT)?,
            })
        })
    }

    fn len<K: Key + 'static, V: Value + 'static>(
        &self,
        definition: TableDefinition<'_, K, V>,
    ) -> Result<u64, StoreError> {
        let Some(table) = self.table(definition)? else { return Ok(0) };
        table.len().map_err(|error| self.failed(error))
    }

    /// Passes every record to `receive`: first the semaphores by name, then the peers by id, then the numbers of
    /// absent peers by id. Returns the meta record, or `None` if the store is new and empty.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read or is damaged, and the error of `receive`.
    pub fn records(&self, receive: &mut Receive<'_>) -> Result<Option<Meta>, StoreError> {
        let Some(meta) = self.meta()? else { return Ok(None) };
        let mut names = Names::default();
        self.each(SEMAPHORES, receive, |name, bytes| {
            Ok(Record::Semaphore(decode_semaphore(names.shared(name), bytes)?))
        })?;
        self.each(PEERS, receive, |id, bytes| {
            Ok(Record::Peer(decode_peer(id, bytes, &mut names)?))
        })?;
        self.each(ABSENT, receive, |id, bytes| Ok(Record::Absent(decode_absent(id, bytes)?)))?;
        Ok(Some(meta))
    }

    fn each<K: Key + 'static>(
        &self,
        definition: TableDefinition<'_, K, &[u8]>,
        receive: &mut Receive<'_>,
        mut decode: impl for<'k> FnMut(K::SelfType<'k>, &[u8]) -> Result<Record, Damage>,
    ) -> Result<(), StoreError> {
        let Some(table) = self.table(definition)? else { return Ok(()) };
        let entries = guarded(&self.name, || table.iter().map_err(|error| self.failed(error)));
        let mut entries = entries?;
        // A panic in `receive` is no damage of the file, so only the reading is guarded.
        while let Some(record) = guarded(&self.name, || {
            let Some(entry) = entries.next() else { return Ok(None) };
            let (key, value) = entry.map_err(|error| self.failed(error))?;
            let record = decode(key.value(), value.value());
            record.map(Some).map_err(|damage| self.damage(definition.name(), &key.value(), &damage))
        })? {
            receive(record)?;
        }
        Ok(())
    }

    /// The table, or `None` if nothing was written to it so far.
    fn table<K: Key + 'static, V: Value + 'static>(
        &self,
        definition: TableDefinition<'_, K, V>,
    ) -> Result<Option<ReadOnlyTable<K, V>>, StoreError> {
        match self.transaction.open_table(definition) {
            Ok(table) => Ok(Some(table)),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed(&self, error: impl Into<redb::Error>) -> StoreError {
        engine::failed(&self.name, "cannot be read", error)
    }

    fn damage(&self, table: &str, key: &dyn fmt::Debug, damage: &Damage) -> StoreError {
        damaged(&self.name, &format!("record {key:?} of table {table}: {damage}"))
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Snapshot").field(&self.name).finish()
    }
}
