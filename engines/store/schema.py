"""Whether a store has the tables of this program: made where it is empty, migrated where it is older, refused where it is newer.

An up-to-date store costs two short reads. Alembic, which is slow to import, is loaded only for a migration.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Column, Connection, Engine, MetaData, PrimaryKeyConstraint, String, Table, inspect, select

from engines.places import user_folder
from engines.store import tables
from engines.store.failures import StoreError

MIGRATIONS = Path(__file__).parent / "migrations"
WAIT_SECONDS = 60.0
"""How long to wait for another process that is making or migrating the same store."""

# The table in which Alembic keeps the number of the last migration.
_version = Table(
    "alembic_version", MetaData(), Column("version_num", String(32), nullable=False), PrimaryKeyConstraint("version_num", name="alembic_version_pkc")
)


def ensure(readers: Engine, writers: Engine, path: Path | None, place: Path | str, *, read_only: bool) -> None:
    """Bring the store to tables.VERSION. Raises StoreError where it is newer, another program's, or would need a write and may not."""
    with readers.connect() as connection:
        found = version(connection)
        ready = found == tables.VERSION and (read_only or path is None or _has_wal(connection))
        _refuse_strangers(connection, found, place)
    if ready:
        return
    if read_only:
        what = "is empty" if found == "" else f"has the older format {found}"
        raise StoreError(f"The store {place} {what}: open it for writing once, then it can be read.")
    _prepare(writers, path, place)


def version(connection: Connection) -> str:
    """The number of the last migration, or the empty string."""
    if not inspect(connection).has_table(_version.name):
        return ""
    return connection.execute(select(_version.c.version_num)).scalar() or ""


def _has_wal(connection: Connection) -> bool:
    return connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def _refuse_strangers(connection: Connection, found: str, place: Path | str) -> None:
    if found == "" and (names := inspect(connection).get_table_names()):
        raise StoreError(f'{place} is a database of another program (it has a table "{names[0]}"): choose another file with --store.')
    if found and not found.isdecimal():
        raise StoreError(f'{place} is a database of another program (its format is called "{found}"): choose another with --store.')
    if found and int(found) > int(tables.VERSION):
        raise StoreError(
            f"The store {place} was written by a newer version of this program (format {found}, this one reads up to {tables.VERSION}): "
            "update the program, or choose another store with --store."
        )


def _prepare(writers: Engine, path: Path | None, place: Path | str) -> None:
    from filelock import FileLock, Timeout

    folder = path.with_name(path.name + ".locks") if path else user_folder() / "locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "migration.lock", timeout=WAIT_SECONDS):
            _prepare_locked(writers, path, place)
    except Timeout as error:
        raise StoreError(f"Another process has been preparing the store {place} for over {WAIT_SECONDS:.0f} s: try again later.") from error
    except OSError as error:
        raise StoreError(
            f"The store {place} cannot be made or updated: its folder cannot be written ({error.strerror or error}). "
            "Make it writable for you, or choose another store with --store."
        ) from error


def _prepare_locked(writers: Engine, path: Path | None, place: Path | str) -> None:
    """Make or migrate, in one transaction: a failure leaves the store as it was."""
    with writers.connect() as connection:
        if path is not None:
            _shape_file(connection)
        with connection.begin():
            # Whoever held the lock before may have done it.
            found = version(connection)
            _refuse_strangers(connection, found, place)
            if found == "":
                tables.metadata.create_all(connection)
                _version.create(connection)
                connection.execute(_version.insert().values(version_num=tables.VERSION))
            elif found != tables.VERSION:
                upgrade(connection)


def _shape_file(connection: Connection) -> None:
    """Properties of an SQLite file that stay with it. Outside transactions; the first works only while it is empty."""
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute("PRAGMA auto_vacuum=INCREMENTAL")
    driver.execute("PRAGMA journal_mode=WAL")


def upgrade(connection: Connection) -> None:
    """Run the missing migrations inside the transaction that the connection is in."""
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    command.upgrade(config, tables.VERSION)
