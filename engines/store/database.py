"""Connections to a store: one that writes, pooled ones that read, a pinned one that notices change.

SQLite (the default) in WAL mode: readers never wait, and a write waits for its turn at `BEGIN IMMEDIATE`, where SQLite's busy timeout
works; a transaction that reads first and writes later would fail at once instead. PostgreSQL serves several machines at once.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError, StatementError
from sqlalchemy.pool import NullPool, PoolProxiedConnection, QueuePool

from engines.store import address, failures, schema
from engines.store.encoding import to_json
from engines.store.failures import StoreError, explained, is_busy

__all__ = ["Store", "StoreError"]


class Store:
    """An open store. Safe to use from several threads; not across a fork.

    url: its absolute SQLAlchemy URL. folder: where large files lie beside it (`<file>.files` for SQLite). read_only: writes are refused.
    """

    def __init__(self, url: str, readers: Engine, writers: Engine, *, read_only: bool) -> None:
        self.url, self.read_only = url, read_only
        self.path = address.sqlite_path(url)
        self.place: Path | str = self.path or writers.url.render_as_string(hide_password=True)
        self.folder = address.files_folder(url)
        self.runs = self.folder / "runs"
        """Where each run has a folder of its own."""
        self._readers, self._writers = readers, writers
        self._file: tuple[int, int] | None = None
        self._writer: Connection | None = None
        self._write_lock = threading.Lock()
        self._watch: PoolProxiedConnection | None = None
        self._watch_lock = threading.Lock()

    @classmethod
    def open(cls, url: str | None = None, *, read_only: bool = False) -> Store:
        """Open a store, making or migrating it where needed.

        url: an SQLAlchemy URL or the path of an SQLite file; default: WORKBENCH_STORE, else the user's own. Raises StoreError with a
        sentence: no such place, not a store, newer than this program, not writable, busy, full disk.
        """
        url = address.store_url(url)
        readers, writers = _sqlite_engines(url, read_only) if url.startswith("sqlite") else _postgresql_engines(url)
        store = cls(url, readers, writers, read_only=read_only)
        try:
            with _sentences(store.place):
                schema.ensure(readers, writers, store.path, store.place, read_only=read_only)
            if not read_only:
                store.folder.mkdir(parents=True, exist_ok=True)
                store._file = _identity(store.path)
        except OSError as error:
            store.close()
            raise StoreError(f"The folder {store.folder} of the store's files cannot be made: {error.strerror or error}.") from error
        except StoreError:
            store.close()
            raise
        return store

    def run_folder(self, run: int) -> Path:
        """Where the files of a run lie."""
        return self.runs / str(run)

    def timing_log(self, experiment: int) -> Path:
        """What the processes that time an experiment say."""
        return self.folder / "timing" / f"experiment-{experiment}.log"

    def model_folder(self, run: int) -> Path:
        """Where the finished model of a run lies."""
        return self.run_folder(run) / "model"

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One short write transaction: all of it or nothing. Waits for other threads and processes; raises StoreError with a sentence."""
        if self.read_only:
            raise StoreError(f"The store {self.place} was opened for reading only.")
        self._refuse_ghosts()
        with self._write_lock, _sentences(self.place):
            if self._writer is None:
                self._writer = self._writers.connect()
            with _begun(self._writer):
                yield self._writer

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection on which all reads see the same state of the store."""
        with _sentences(self.place), self._readers.connect() as connection:
            yield connection

    def _refuse_ghosts(self) -> None:
        """Where the file was removed or replaced, SQLite would go on writing into one that nobody can see."""
        if self._file is not None and _identity(self.path) != self._file:
            raise StoreError(f"The store {self.place} was removed or replaced while it was open: put it back, or open it anew.")

    def changed(self) -> int:
        """A number that differs from the last one if anything was written since, by any process. Costs microseconds."""
        with self._watch_lock, _sentences(self.place):
            if self._watch is None:
                # Its own connection for good, outside transactions: the counter is one of a connection, and moves on the commits of all others.
                self._watch = self._readers.raw_connection()
            cursor = self._watch.cursor()
            try:
                cursor.execute("PRAGMA data_version" if self.path else "SELECT (pg_current_wal_lsn() - '0/0')::bigint")
                row = cursor.fetchone()
            finally:
                cursor.close()
                if self.path is None:
                    self._watch.rollback()
            assert row is not None
            return int(row[0])

    def close(self) -> None:
        """Give back all connections. The store must not be used afterwards."""
        with self._write_lock, self._watch_lock:
            for connection in (self._writer, self._watch):
                if connection is not None:
                    connection.close()
            self._writer = self._watch = None
            self._readers.dispose()
            self._writers.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _identity(path: Path | None) -> tuple[int, int] | None:
    """What tells a file from another one of the same name; (0, 0) where there is none."""
    if path is None:
        return None
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_dev, found.st_ino


@contextmanager
def _sentences(place: Path | str) -> Iterator[None]:
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        raise explained(error, place) from error
    except StatementError as error:
        # A value that is no data, such as an object in a JSON column: the caller's mistake, said without the toolkit around it.
        raise (error.orig or error) from None


@contextmanager
def _begun(connection: Connection) -> Iterator[None]:
    """A transaction on the writer; where the busy timeout ran out it is begun once more before that becomes an error."""
    try:
        transaction = connection.begin()
    except OperationalError as error:
        if not is_busy(error):
            raise
        transaction = connection.begin()
    with transaction:
        yield


# --- Engines ------------------------------------------------------------------------------------------------------------------------------


def _sqlite_engines(url: str, read_only: bool) -> tuple[Engine, Engine]:
    path = address.sqlite_path(url)
    if path is None:
        raise StoreError("A store in memory cannot be shared between processes: name a file, as in --store results.sqlite.")
    if path.is_dir():
        raise StoreError(f"{path} is a folder, not a store: name a file in it, as in --store {path / 'workbench.sqlite'}.")
    if not path.exists():
        if read_only:
            raise StoreError(f"There is no store at {path}.")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or error
            raise StoreError(f"The folder {path.parent} for the store cannot be made: {reason}. Choose another with --store.") from error
    query = _read_only_query(path) if read_only else ""

    def connect() -> sqlite3.Connection:
        # isolation_level None: the driver begins nothing by itself, the events below do.
        name = f"{path.as_uri()}?{query}" if query else str(path)
        connection = sqlite3.connect(name, timeout=failures.BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=bool(query))
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    readers = create_engine("sqlite://", creator=connect, json_serializer=to_json, poolclass=QueuePool, pool_size=8, max_overflow=-1)
    writers = create_engine("sqlite://", creator=connect, json_serializer=to_json, poolclass=NullPool)
    event.listen(readers, "begin", _begin_reading)
    event.listen(writers, "begin", _begin_writing)
    return readers, writers


def _begin_reading(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _begin_writing(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _read_only_query(path: Path) -> str:
    """A store in a folder that cannot be written has no room for the files that WAL readers share: then it is read as it lies."""
    try:
        with sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True) as probe:
            probe.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.OperationalError:
        return "mode=ro&immutable=1"
    except sqlite3.DatabaseError as error:
        raise explained(error, path) from error
    finally:
        if "probe" in locals():
            probe.close()
    return "mode=ro"


_POSTGRESQL_LOCK = 0x574F524B
"""Writers of a PostgreSQL store take turns on this advisory lock, as those of SQLite do by themselves."""


def _postgresql_engines(url: str) -> tuple[Engine, Engine]:
    try:
        readers = create_engine(url, pool_pre_ping=True, isolation_level="REPEATABLE READ", json_serializer=to_json)
        writers = create_engine(url, poolclass=NullPool, json_serializer=to_json)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        advice = "Name an SQLite file or the URL of a PostgreSQL database whose driver is installed."
        raise StoreError(f'The store "{url}" cannot be opened: {error}. {advice}') from error
    if writers.dialect.name != "postgresql":
        raise StoreError(f"A store lies in SQLite or PostgreSQL, not in {writers.dialect.name}: choose another with --store.")
    event.listen(writers, "begin", _begin_writing_postgresql)
    return readers, writers


def _begin_writing_postgresql(connection: Connection) -> None:
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{2 * failures.BUSY_SECONDS:.0f}s'")
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_POSTGRESQL_LOCK})")
