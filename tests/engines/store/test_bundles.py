"""Bundles: what goes in comes out, and what somebody made of one by hand is refused."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from engines import cli, comparison
from engines.store import bundles, commands, queries
from engines.store.database import Store, StoreError
from engines.store.rows import RoundRow
from tests.workbench import samples

Change = Callable[[dict[str, bytes], dict[str, Any]], None]


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """Two experiments, the second with everything: points, figures, a session, notes, tags, and a finished model."""
    with Store.open(store_url) as opened:
        samples.finished(opened, name="Other")
        number = samples.finished(opened, name="Läuft 中文?")
        variants = queries.variants(opened, number)
        session = commands.open_timing(opened, number, "", "speed/infer_tokens_per_s", {"unit": "tokens/s", "better": "higher"})
        rounds = [RoundRow(variant.id, n, 0, 100.0 + n + 10 * variant.position) for n in range(6) for variant in variants]
        commands.put_rounds(opened, session, rounds)
        commands.close_timing(opened, session, "done", {"launches": [0, 2, 4]})
        commands.put_note(opened, number, "Look at this.")
        commands.set_tag(opened, number, "star")
        for run in queries.runs(opened, number):
            folder = opened.folder / "runs" / str(run.id)
            (folder / "model").mkdir(parents=True)
            (folder / "model" / "weights.safetensors").write_bytes(b"w" * 5000)
            (folder / "model" / "plan.json").write_text("{}")
            (folder / "checkpoint").mkdir()
            (folder / "checkpoint" / "state.json").write_text("{}")
            (folder / "evil.py").write_text("raise SystemExit")
            commands.add_artifact(opened, run.id, "profile", "profile", str(folder / "model"), 5000)
        yield opened


@pytest.fixture
def bundle(store: Store, tmp_path: Path) -> Path:
    return bundles.pack(store, 2, tmp_path / "it.workbench").path


def test_what_goes_in_comes_out(store: Store, bundle: Path, tmp_path: Path) -> None:
    with Store.open(bundles.unpack(bundle, tmp_path / "out"), read_only=True) as opened:
        assert [row.name for row in queries.experiments(opened)] == ["Läuft 中文?"]
        assert comparison.compare(opened, [2]) == comparison.compare(store, [2])
        assert [row.text for row in queries.notes(opened, 2)] == ["Look at this."]
        assert queries.tags(opened) == {2: ["star"]}
        for run in queries.runs(store, 2):
            for mine, theirs in zip(queries.series(store, run.id), queries.series(opened, run.id), strict=True):
                for one, other in zip(queries.points(store, mine.id), queries.points(opened, theirs.id), strict=True):
                    np.testing.assert_array_equal(one, other)
            (artifact,) = queries.artifacts(opened, run.id)
            assert Path(artifact.path) == opened.folder / "runs" / str(run.id) / "model"
            assert (Path(artifact.path) / "weights.safetensors").read_bytes() == b"w" * 5000
        left = {path.name for path in opened.folder.rglob("*") if path.is_file()}
        assert left == {"weights.safetensors", "plan.json"}
        with pytest.raises(StoreError, match="reading only"):
            commands.put_note(opened, 2, "no")


def test_it_is_laid_out_once(bundle: Path, tmp_path: Path) -> None:
    first = bundles.unpack(bundle, tmp_path / "out")
    copy = bundle.with_name("renamed.workbench")
    copy.write_bytes(bundle.read_bytes())
    assert bundles.unpack(copy, tmp_path / "out") == first


def test_weights_can_stay_at_home(store: Store, tmp_path: Path) -> None:
    packed = bundles.pack(store, 2, tmp_path / "light.workbench", weights=False)
    assert packed.weights == 10_000
    with zipfile.ZipFile(packed.path) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".safetensors")]


def test_an_experiment_under_way_is_not_bundled(store: Store, tmp_path: Path) -> None:
    number = samples.submit(store)
    with pytest.raises(StoreError, match="under way"):
        bundles.pack(store, number, tmp_path / "no.workbench")
    assert not list(tmp_path.glob("no.workbench"))
    with pytest.raises(StoreError, match="no experiment 99"):
        bundles.pack(store, 99, tmp_path / "no.workbench")


# --- What is refused --------------------------------------------------------------------------------------------------------------------------


def remade(bundle: Path, change: Change, *, sealed: bool = True) -> Path:
    """The bundle with its files and manifest changed; sealed: checksums are those of the changed files."""
    with zipfile.ZipFile(bundle) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(files.pop("manifest.json"))
    change(files, manifest)
    if sealed:
        manifest["files"] = {name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()}
    made = bundle.with_name("changed.workbench")
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr("manifest.json", json.dumps(manifest))
    return made


def put(name: str, content: bytes = b"x") -> Change:
    return lambda files, manifest: files.update({name: content})


def with_sql(*statements: str) -> Change:
    def change(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
        connection = sqlite3.connect(":memory:")
        connection.deserialize(files["store.sqlite"])
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        files["store.sqlite"] = connection.serialize()
        connection.close()

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("../outside.json"), "not safe"), (put("files/../../outside.json"), "not safe"), (put("/etc/outside.json"), "not safe"),
        (put("files/a\\..\\b.json"), "not safe"), (put("files/C:/b.json"), "not safe"), (put("files/runs/3/model/weights.pt"), "may hold code"),
        (put("files/runs/3/x.py"), "may hold code"), (put("elsewhere/x.json"), "not safe"), (put("store.sqlite", b"no database"), "damaged|not a"),
        (lambda files, manifest: files.pop("store.sqlite"), "other files"),
        (lambda files, manifest: manifest.update(format=99), "newer workbench"), (lambda files, manifest: manifest.update(version="9999"), "newer"),
        (lambda files, manifest: manifest.pop("format"), "manifest"),
        (with_sql("CREATE TRIGGER t AFTER INSERT ON note BEGIN DELETE FROM run; END"), "no table"),
        (with_sql("CREATE VIEW v AS SELECT 1"), "no table"),
    ],
)  # fmt: skip
def test_what_is_not_safe_is_refused(bundle: Path, tmp_path: Path, change: Change, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        bundles.unpack(remade(bundle, change), tmp_path / "out")
    assert not list(tmp_path.rglob("outside.json"))
    # Half of it is not taken for the whole the next time.
    with pytest.raises(StoreError, match=said):
        bundles.unpack(remade(bundle, change), tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("files/runs/3/extra.json"), "other files"),
        (lambda files, manifest: files.update({"files/runs/3/model/plan.json": b"[]"}), "not what its manifest says"),
        (lambda files, manifest: files.update({"files/runs/3/model/plan.json": b"0" * 10**7}), "not what its manifest says"),
        (lambda files, manifest: manifest["files"]["store.sqlite"].update(bytes=2**60), "more than is free"),
        (lambda files, manifest: manifest["files"]["store.sqlite"].update(bytes="1"), "manifest"),
    ],
)
def test_what_the_manifest_does_not_say_is_refused(bundle: Path, tmp_path: Path, change: Change, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        bundles.unpack(remade(bundle, change, sealed=False), tmp_path / "out")


def test_links_are_refused(bundle: Path, tmp_path: Path) -> None:
    made = remade(bundle, put("files/runs/3/link.json", b"/etc/passwd"))
    with zipfile.ZipFile(made) as archive:
        entries = [(entry, archive.read(entry)) for entry in archive.infolist()]
    with zipfile.ZipFile(made, "w") as archive:
        for entry, content in entries:
            if entry.filename.endswith("link.json"):
                entry.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(entry, content)
    with pytest.raises(StoreError, match="not safe"):
        bundles.unpack(made, tmp_path / "out")


@pytest.mark.parametrize("cut", [0, 100, -100])
def test_what_is_no_archive_is_a_sentence(bundle: Path, tmp_path: Path, cut: int) -> None:
    broken = tmp_path / "broken.workbench"
    broken.write_bytes(bundle.read_bytes()[:cut])
    with pytest.raises(StoreError, match="is no bundle"):
        bundles.unpack(broken, tmp_path / "out")
    with pytest.raises(StoreError, match="cannot be opened"):
        bundles.unpack(tmp_path / "missing.workbench", tmp_path / "out")


# --- The command line ---------------------------------------------------------------------------------------------------------------------------


def test_the_verbs(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["bundle", "2", "--store", store.url]) == 0
    assert "experiment-2.workbench" in capsys.readouterr().err
    assert cli.main(["open", "experiment-2.workbench", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["baseline"] == "full"
    assert cli.main(["open", "experiment-2.workbench", "--headless"]) == 0
    assert "Read-only" in capsys.readouterr().err
    assert cli.main(["list", "--store", "experiment-2.workbench"]) == 0
    assert "Läuft 中文?" in capsys.readouterr().out
    assert cli.main(["note", "2", "mine", "--store", "experiment-2.workbench"]) == 2
    assert "reading only" in capsys.readouterr().err
    assert cli.main(["open", "nowhere.workbench"]) == 2
    assert cli.main(["bundle", "r2", "--store", store.url]) == 2
    assert cli.main(["bundle", "2", "--store", store.url, "--out", "no/where"]) == 2


def test_no_model_of_a_bundle_is_made_by_a_function_that_it_names(store: Store, tmp_path: Path) -> None:
    """Its plan could name any function that is installed, with any arguments."""
    from engines.runtime.finished import FinishedError, load_finished

    run, called = queries.runs(store, 2)[0], tmp_path / "called"
    folder = store.model_folder(run.id)
    model = {"id": "models/own", "factory": "os:mkdir", "arguments": {"path": str(called)}, "folder": "."}
    for name, content in (("plan", {"model": model}), ("records", []), ("facts", {"text": ""})):
        (folder / f"{name}.json").write_text(json.dumps(content))
    save_file({"w": np.zeros(1)}, folder / "weights.safetensors")
    packed = bundles.pack(store, 2, tmp_path / "it.workbench").path
    with Store.open(bundles.unpack(packed, tmp_path / "out"), read_only=True) as opened:
        laid_out = opened.model_folder(run.id)
    with pytest.raises(FinishedError, match="made by os:mkdir, code of its author, and nothing that a bundle holds or names is run"):
        load_finished(laid_out)
    assert not called.exists()
