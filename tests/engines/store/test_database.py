"""Where a store is, what change looks like, and what happens where the disk or a person says no."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engines.store import commands, queries
from engines.store.address import sqlite_path, store_url
from engines.store.commands import SeriesBatch
from engines.store.database import Store, StoreError
from engines.store.queries import RunRow

ROOT = Path(__file__).parents[3]
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs file modes or resource limits of POSIX")


def points(start: int, count: int = 1000) -> list[SeriesBatch]:
    return [SeriesBatch("x", "", "none", range(start, start + count), [0.0] * count, [float(n) for n in range(start, start + count)])]


# --- Places ---------------------------------------------------------------------------------------------------------------------------------


def test_a_store_is_named_by_url_path_environment_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = f"sqlite:///{(tmp_path / 'a.sqlite').as_posix()}"
    assert store_url("a.sqlite") == store_url("sqlite:///a.sqlite") == store_url(str(tmp_path / "a.sqlite")) == expected
    assert store_url(store_url("a.sqlite")) == expected
    assert store_url("postgresql+psycopg://me@host/db") == "postgresql+psycopg://me@host/db"
    assert sqlite_path("postgresql+psycopg://me@host/db") is None
    monkeypatch.setenv("WORKBENCH_STORE", "b.sqlite")
    assert store_url() == f"sqlite:///{(tmp_path / 'b.sqlite').as_posix()}"
    monkeypatch.delenv("WORKBENCH_STORE")
    assert store_url().endswith("workbench/workbench.sqlite")


def test_missing_folders_are_made_and_names_may_hold_anything(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "100% #1 & more.sqlite"
    with Store.open(str(path)) as store:
        assert store.path == path
        assert store.folder == path.with_name(path.name + ".files")
        assert store.folder.is_dir()
        assert commands.put_machine(store, "m", {}) == 1
    with Store.open(store.url, read_only=True) as again:
        assert queries.machine(again, 1).fingerprint == "m"


def test_a_store_in_memory_is_refused() -> None:
    for url in ("sqlite://", "sqlite:///:memory:"):
        with pytest.raises(StoreError, match="in memory cannot be shared"):
            Store.open(url)


def test_a_database_without_a_driver_is_refused() -> None:
    with pytest.raises(StoreError, match="whose driver is installed"):
        Store.open("postgresql+nothing://host/db")


# --- Change ---------------------------------------------------------------------------------------------------------------------------------


def test_change_shows_for_own_writes_and_those_of_others_and_only_then(store: Store) -> None:
    first = store.changed()
    queries.experiments(store)
    assert store.changed() == first
    commands.put_machine(store, "m", {})
    second = store.changed()
    assert second != first
    with Store.open(store.url) as other:
        before = other.changed()
        assert store.changed() == second
        commands.put_machine(other, "n", {})
        assert other.changed() != before
    assert store.changed() != second


def test_a_write_that_fails_leaves_nothing(store: Store, run: RunRow) -> None:
    rows = [commands.EffectRow("a", "model", ""), commands.EffectRow("b", "model", "", {"x": object()})]
    with pytest.raises(TypeError, match="Object of type object is not JSON serializable"):
        commands.put_effects(store, run.id, run.claim, rows)
    assert queries.effects(store, run.id) == []
    commands.put_effects(store, run.id, run.claim, [commands.EffectRow("a", "model", "")])
    assert len(queries.effects(store, run.id)) == 1


# --- Where the disk or a person says no -----------------------------------------------------------------------------------------------------


def test_a_folder_is_not_a_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a folder, not a store: name a file in it"):
        Store.open(str(tmp_path))


def test_a_parent_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file for the store cannot be made: .*Choose another with --store"):
        Store.open(str(tmp_path / "file" / "s.sqlite"))


def test_reading_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="There is no store at"):
        Store.open(str(tmp_path / "s.sqlite"), read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary, " * 100)
    for read_only in (False, True):
        with pytest.raises(StoreError, match=r"notes\.txt is not a store or is damaged"):
            Store.open(str(path), read_only=read_only)
    assert path.read_text() == "Dear diary, " * 100


def test_a_damaged_store_says_so(store: Store, run: RunRow) -> None:
    for start in range(0, 20_000, 1000):
        commands.append_points(store, run.id, run.claim, points(start))
    store.close()
    assert store.path is not None
    data = bytearray(store.path.read_bytes())
    data[8192 : len(data) // 2] = np.random.default_rng(1).bytes(len(data) // 2 - 8192)
    store.path.write_bytes(data)

    def use() -> None:
        with Store.open(store.url) as damaged:
            queries.runs(damaged)
            queries.points(damaged, 1)

    with pytest.raises(StoreError, match=r"is not a store or is damaged .*\.recover"):
        use()


def test_a_store_opened_for_reading_refuses_writes(store: Store, run: RunRow) -> None:
    with Store.open(store.url, read_only=True) as reader:
        assert queries.run(reader, run.id).id == run.id
        with pytest.raises(StoreError, match="was opened for reading only"):
            commands.put_machine(reader, "m", {})


def test_a_full_store_says_so_loses_nothing_and_goes_on(store: Store, run: RunRow) -> None:
    commands.append_points(store, run.id, run.claim, points(0))
    with store.writing() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 5}")
    with pytest.raises(StoreError, match=r"cannot grow .*: free space on its disk, then resume\. What was stored before is safe"):
        commands.append_points(store, run.id, run.claim, points(1000, 20_000))
    (row,) = queries.series(store, run.id)
    assert row.count == len(queries.points(store, row.id)[0]) == 1000
    with store.writing() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=100000")
    commands.append_points(store, run.id, run.claim, points(1000, 20_000))
    assert queries.series(store, run.id)[0].count == 21_000


LIMITED = """
import resource, sys
from engines.store import commands
from engines.store.database import Store, StoreError
from tests.engines.store.test_database import points
url, run, claim = sys.argv[1], int(sys.argv[2]), sys.argv[3]
store = Store.open(url)
commands.append_points(store, run, claim, points(0))
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
stored = 1000
try:
    while True:
        commands.append_points(store, run, claim, points(stored))
        stored += 1000
except StoreError as error:
    print(stored, error)
"""


@posix
def test_a_disk_that_is_full_in_the_middle_of_writing(store: Store, run: RunRow) -> None:
    """The kernel refuses the file's growth, as a full disk or a quota does."""
    command = [sys.executable, "-c", LIMITED, store.url, str(run.id), run.claim]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=True)
    stored, sentence = done.stdout.strip().split(maxsplit=1)
    assert "cannot grow" in sentence
    assert str(store.path) in sentence
    (row,) = queries.series(store, run.id)
    assert row.count == int(stored)
    np.testing.assert_array_equal(queries.points(store, row.id)[2], np.arange(row.count))
    commands.append_points(store, run.id, run.claim, points(row.count))
    with store.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


WITHOUT_RIGHTS = """
import os, sys
from pathlib import Path
import filelock, sqlalchemy.dialects.sqlite
from engines.store import commands, queries
from engines.store.database import Store, StoreError
if os.geteuid() == 0:
    os.seteuid(65534)
for read_only in (False, True):
    try:
        with Store.open(sys.argv[1], read_only=read_only) as store:
            print("reads", len(queries.supervisors(store)))
            commands.put_machine(store, "m", {})
    except StoreError as error:
        print(error)
"""


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that every user may enter, as pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)
        os.chmod(folder, 0o755)


def without_rights(path: Path) -> list[str]:
    command = [sys.executable, "-c", WITHOUT_RIGHTS, str(path)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=True).stdout.splitlines()


@posix
def test_a_read_only_file_in_a_read_only_folder_can_be_read(reachable: Path) -> None:
    path = reachable / "s.sqlite"
    with Store.open(str(path)) as store:
        commands.register_supervisor(store, "here", 1, 1.0)
    before = path.read_bytes()
    os.chmod(path, 0o444)
    os.chmod(reachable, 0o555)
    written, reads, refused = without_rights(path)
    assert "make the file and its folder writable for you, or choose another with --store" in written
    assert reads == "reads 1"
    assert "was opened for reading only" in refused
    assert path.read_bytes() == before


@posix
def test_a_read_only_file_refuses_writes_with_a_sentence(reachable: Path) -> None:
    path = reachable / "s.sqlite"
    Store.open(str(path)).close()
    os.chmod(path, 0o444)
    os.chmod(reachable, 0o777)
    os.chmod(reachable / "s.sqlite.files", 0o777)
    lines = without_rights(path)
    assert any("cannot be written" in line for line in lines), lines
    assert any(line == "reads 0" for line in lines), lines


@posix
def test_a_folder_in_which_no_store_can_be_made(reachable: Path) -> None:
    os.chmod(reachable, 0o555)
    written, missing = without_rights(reachable / "s.sqlite")
    assert str(reachable) in written
    assert "cannot be" in written
    assert "There is no store at" in missing


def test_what_a_killed_writer_had_committed_is_there(store: Store, run: RunRow) -> None:
    code = (
        "import os, sys\nfrom engines.store import commands\nfrom engines.store.database import Store\n"
        "from tests.engines.store.test_database import points\nstore = Store.open(sys.argv[1])\n"
        "commands.append_points(store, int(sys.argv[2]), sys.argv[3], points(0))\n"
        "with store.writing() as connection:\n"
        "    connection.exec_driver_sql('DELETE FROM point')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, store.url, str(run.id), run.claim], cwd=ROOT, timeout=60)
    assert done.returncode != 0
    (row,) = queries.series(store, run.id)
    assert row.count == len(queries.points(store, row.id)[0]) == 1000
    commands.append_points(store, run.id, run.claim, points(1000))


@posix
def test_a_store_that_is_removed_while_open_takes_no_more_writes(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with Store.open(str(path)) as store:
        commands.put_machine(store, "m", {})
        path.rename(tmp_path / "elsewhere.sqlite")
        with pytest.raises(StoreError, match="was removed or replaced while it was open"):
            commands.put_machine(store, "n", {})
        (tmp_path / "elsewhere.sqlite").rename(path)
        assert commands.put_machine(store, "n", {}) == 2
