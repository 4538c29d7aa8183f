"""One supervisor per store, however many ask at once; it stays for clients and leaves after them."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engines import launching
from engines.launching import LaunchError, Presence, ensure_supervisor, holder
from engines.store.database import Store
from tests.engines.processes import SCRIPTED, nothing_left, processes_of, supervisor_gone, until

pytestmark = pytest.mark.slow


def _ensure(url: str) -> int:
    return ensure_supervisor(url, environment=SCRIPTED).pid


def test_many_processes_at_once_get_one_supervisor(store_url: str) -> None:
    Store.open(store_url).close()
    with nothing_left(store_url), Presence(store_url):
        context = multiprocessing.get_context("spawn")
        with context.Pool(4) as pool:
            pids = pool.map(_ensure, [store_url] * 8)
        with ThreadPoolExecutor(4) as threads:
            pids += threads.map(_ensure, [store_url] * 4)
        assert len(set(pids)) == 1
        assert [process.pid for process in processes_of(store_url)] == [pids[0]]


def test_the_supervisor_stays_for_a_client_and_leaves_after_it(store_url: str) -> None:
    with nothing_left(store_url):
        with Presence(store_url):
            found = ensure_supervisor(store_url)
            assert launching.clients(store_url) == 1
            until(lambda: "serves" in launching.log_path(store_url).read_text(), "its first words")
            assert holder(store_url) == found
        assert launching.clients(store_url) == 0
        until(lambda: supervisor_gone(store_url), "its leaving", 15)


def test_a_dead_client_does_not_count(store_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    with Presence(store_url):
        child = context.Process(target=_present_until_killed, args=(store_url,))
        child.start()
        until(lambda: launching.clients(store_url) == 2, "two clients")
        child.kill()
        child.join()
        assert launching.clients(store_url) == 1
    assert list(launching.lock_folder(store_url).glob("client-*")) == []


def _present_until_killed(url: str) -> None:
    import time

    with Presence(url):
        time.sleep(600)


@pytest.mark.skipif(os.name != "posix", reason="stands in for the other system")
def test_a_lock_file_goes_where_an_open_file_cannot_be_removed(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    unlink = Path.unlink

    def refuse_open_files(path: Path, missing_ok: bool = False) -> None:
        if path.exists():
            with path.open("a") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise PermissionError("The file is in use by another process.") from None
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse_open_files)
    monkeypatch.setattr(launching, "_OPEN_FILES_STAY", True)
    with Presence(store_url):
        (launching.lock_folder(store_url) / f"client-{launching._host()}-1-0.lock").touch()
        assert launching.clients(store_url) == 1
    assert list(launching.lock_folder(store_url).glob("client-*")) == []


def test_a_client_that_looks_at_the_gate_sees_the_supervisor_or_starts_one(store_url: str) -> None:
    """Leaving and coming at the same time, many times over: whoever came is served."""
    with nothing_left(store_url):
        for _ in range(3):
            with Presence(store_url):
                found = ensure_supervisor(store_url)
                assert holder(store_url) == found


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder nobody can write")
def test_a_store_nobody_can_write_is_one_sentence() -> None:
    with pytest.raises(LaunchError, match="cannot be written"):
        Presence("sqlite:////proc/self/store.sqlite").open()


def test_a_supervisor_that_cannot_start_says_where_its_log_is(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching.sys, "executable", "/bin/false") if os.name == "posix" else pytest.skip("needs /bin/false")
    with pytest.raises(LaunchError, match=r"supervisor\.log"):
        ensure_supervisor(store_url)


def test_lock_folders_of_stores_differ(tmp_path: Path) -> None:
    first = launching.lock_folder(f"sqlite:///{tmp_path / 'a.sqlite'}")
    second = launching.lock_folder(f"sqlite:///{tmp_path / 'b.sqlite'}")
    shared = launching.lock_folder("postgresql://somewhere/workbench")
    assert len({first, second, shared}) == 3
    assert first.parent == tmp_path


def test_engine_processes_keep_large_tensors_on_huge_pages_unless_the_user_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)
    assert launching.process_environment()["THP_MEM_ALLOC_ENABLE"] == "1"
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    assert launching.process_environment()["THP_MEM_ALLOC_ENABLE"] == "0"
