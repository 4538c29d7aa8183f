"""Notes, tags, stars, the archive, deleting with a way back: from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from engines import cli
from engines.store import queries
from engines.store.database import Store
from tests.workbench import samples

Say = Callable[..., str]


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with Store.open(store_url) as opened:
        for name in ("One", "Two"):
            samples.finished(opened, name=name)
        yield opened


@pytest.fixture
def say(store: Store, capsys: pytest.CaptureFixture[str]) -> Say:
    """Asks for a verb and returns all that was answered; fails where the exit code is another than `code`."""

    def ask(*words: str, code: int = 0) -> str:
        assert cli.main([*words, "--store", store.url]) == code
        told = capsys.readouterr()
        return told.out + told.err

    return ask


def test_notes_stand_beside_experiments_and_runs(say: Say) -> None:
    assert "No notes beside 1" in say("note", "1")
    say("note", "1", "learning", "rate", "too", "high?")
    say("note", "r2", "this one diverged")
    assert [line.split("  ")[-1] for line in say("note", "1").splitlines()] == ["learning rate too high?", "r2: this one diverged"]
    assert [row["text"] for row in json.loads(say("note", "r2", "--json"))] == ["this one diverged"]
    assert "no experiment 9" in say("note", "9", "x", code=2)
    assert "no run r99" in say("note", "r99", "x", code=2)


def test_tags_filter_the_list(say: Say) -> None:
    assert "no tags" in say("tag", "1")
    assert "paper, talk" in say("tag", "1", "talk", "paper")
    assert "1: talk" in say("tag", "1", "--remove", "paper")
    assert "One" in say("list", "--tag", "talk")
    assert "Two" not in say("list", "--tag", "talk")
    assert "1 to 200 characters" in say("tag", "1", "x" * 201, code=2)
    assert json.loads(say("list", "--json"))[0]["tags"] == ["talk"]


def test_stars_and_the_archive_are_tags_that_can_be_taken_back(say: Say) -> None:
    assert "★" in say("star", "2")
    assert "no tags" in say("star", "2", "--off")
    say("archive", "1")
    assert "One" not in say("list")
    assert "One" in say("list", "--all")
    say("archive", "2")
    assert "None of the 2 experiments" in say("list")
    say("archive", "1", "--off")
    assert "One" in say("list")


def test_what_was_deleted_comes_back_until_it_is_collected(say: Say, store: Store) -> None:
    assert "workbench restore 1 2" in say("delete", "1", "2")
    assert queries.experiments(store) == []
    assert "2 deleted experiments" in say("restore")
    say("restore", "1")
    assert [row.id for row in queries.experiments(store)] == [1]
    say("gc")
    assert "Not among the deleted experiments: 2. Those are: none." in say("restore", "2", code=2)
    assert "no experiment 7" in say("delete", "1", "7", code=2)
    assert [row.id for row in queries.experiments(store)] == [1]
