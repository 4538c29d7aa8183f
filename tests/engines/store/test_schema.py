"""What a store's format may be: none, this one, older, newer, another program's."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from engines.store import commands, queries, schema, tables
from engines.store.database import Store, StoreError

LATER = '''
from alembic import op
import sqlalchemy as sa
revision, down_revision = "0004", "0003"
def upgrade():
    with op.batch_alter_table("tag") as batch:
        batch.add_column(sa.Column("colour", sa.Text(), server_default="", nullable=False))
    op.execute("UPDATE tag SET colour = 'red'")
    {then}
'''


def schema_of(connection: Any) -> dict[str, str]:
    """Every table and index with its definition, white space and quotes aside, columns and constraints in any order."""
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%'").fetchall()
    return {name: " ".join(sorted(re.split(r"[,\s]+", sql.replace('"', "")))) for name, sql in rows}


def test_migrations_and_tables_agree(tmp_path: Path) -> None:
    with Store.open(str(tmp_path / "made.sqlite")) as made:
        assert made.path is not None
    migrated = create_engine(f"sqlite:///{tmp_path / 'migrated.sqlite'}")
    with migrated.begin() as connection:
        schema.upgrade(connection)
    migrated.dispose()
    with sqlite3.connect(tmp_path / "made.sqlite") as left, sqlite3.connect(tmp_path / "migrated.sqlite") as right:
        assert schema_of(left) == schema_of(right)
        numbers = [side.execute("SELECT version_num FROM alembic_version").fetchall() for side in (left, right)]
        assert numbers == [[(tables.VERSION,)]] * 2
    left.close()
    right.close()


def test_versions_are_numbered_and_the_last_one_is_ours() -> None:
    numbers = sorted(path.stem[1:5] for path in (schema.MIGRATIONS / "versions").glob("v*.py"))
    assert numbers == [f"{n:04}" for n in range(1, len(numbers) + 1)]
    assert numbers[-1] == tables.VERSION


@pytest.fixture
def with_a_later_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A program that knows one more migration."""

    def advance(then: str = "pass") -> None:
        folder = tmp_path / "migrations"
        shutil.copytree(schema.MIGRATIONS, folder)
        (folder / "versions" / "v0004_colours.py").write_text(LATER.format(then=then))
        monkeypatch.setattr(schema, "MIGRATIONS", folder)
        monkeypatch.setattr(tables, "VERSION", "0004")

    return advance


def columns(path: Path, table: str) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    finally:
        connection.close()


def old_store(path: Path) -> None:
    Store.open(str(path)).close()
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO tag VALUES (1, 'star')")
    connection.commit()
    connection.close()


def test_an_older_store_is_migrated_and_keeps_its_rows(tmp_path: Path, with_a_later_version: Any) -> None:
    path = tmp_path / "store.sqlite"
    old_store(path)
    with_a_later_version()
    with pytest.raises(StoreError, match=r"has the older format 0003: open it for writing once"):
        Store.open(str(path), read_only=True)
    with Store.open(str(path)) as store, store.reading() as connection:
        assert connection.exec_driver_sql("SELECT * FROM tag").all() == [(1, "star", "red")]
        assert schema.version(connection) == "0004"
    Store.open(str(path), read_only=True).close()


def test_a_store_of_the_first_format_gets_studies_and_keeps_its_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "first.sqlite"
    engine = create_engine(f"sqlite:///{path}")
    with monkeypatch.context() as earlier, engine.begin() as connection:
        earlier.setattr(tables, "VERSION", "0001")
        schema.upgrade(connection)
        connection.exec_driver_sql("INSERT INTO machine (fingerprint, facts) VALUES ('f', '{}')")
    engine.dispose()
    assert columns(path, "study") == []
    with Store.open(str(path)) as store:
        number = commands.begin_study(store, "studies/matmul", {"step": 16}, 1, "here", 4711, 1.5)
        assert queries.study(store, number).parameters == {"step": 16}
        assert queries.machine(store, 1).fingerprint == "f"
        with store.reading() as connection:
            assert schema.version(connection) == tables.VERSION


def test_a_migration_that_fails_leaves_the_store_as_it_was(tmp_path: Path, with_a_later_version: Any) -> None:
    path = tmp_path / "store.sqlite"
    old_store(path)
    with_a_later_version("op.execute('SELECT * FROM nowhere')")
    with pytest.raises(StoreError, match="no such table: nowhere"):
        Store.open(str(path))
    assert columns(path, "tag") == ["experiment_id", "name"]


def test_a_newer_store_is_refused_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    Store.open(str(path)).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '0999'")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(StoreError, match=r"newer version of this program \(format 0999, this one reads up to \d{4}\): update the program"):
            Store.open(str(path), read_only=read_only)
    assert path.read_bytes() == before


def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "contacts.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE people (name)")
    connection.commit()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r'another program \(it has a table "people"\): choose another file'):
        Store.open(str(path))
    connection.execute("CREATE TABLE alembic_version (version_num)")
    connection.execute("INSERT INTO alembic_version VALUES ('ae1027a6acf')")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match=r'another program \(its format is called "ae1027a6acf"\)'):
        Store.open(str(path))
    assert path.read_bytes() != before
    assert columns(path, "run") == []


def test_opening_a_store_that_is_up_to_date_loads_no_migration_tool(store_url: str) -> None:
    Store.open(store_url).close()
    code = (
        "import sys, time\nfrom engines.store.database import Store\nstart = time.process_time()\n"
        f"Store.open({store_url!r}).close()\nprint(time.process_time() - start, sorted({{'alembic', 'filelock', 'torch'}} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[3], check=True, timeout=60)
    seconds, loaded = done.stdout.split(maxsplit=1)
    assert loaded.strip() == "[]"
    assert float(seconds) < 0.1


def test_a_new_store_is_empty_and_ready(store: Store) -> None:
    assert queries.experiments(store) == []
    with store.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA auto_vacuum").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1
