"""An experiment in one file, for a colleague or a class: its rows as a store of their own, the files of its runs, and a manifest.

A bundle is a ZIP archive: `manifest.json` (format, what is in it, SHA-256 of every file), `store.sqlite`, `files/...`. It is opened read-only, in a
copy of its own. Nothing in it is ever run: models are safetensors and JSON, and what is not named in the manifest, lies outside the archive's own
folder, has another checksum or size, or is of a kind that could hold code is refused. Nor is a model loaded that a function made which it names.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import stat
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from sqlalchemy import Connection, Select, insert, select, update

from engines.places import cache_folder
from engines.store import queries, tables
from engines.store.address import LAID_OUT, files_folder, report_description
from engines.store.database import Store
from engines.store.failures import StoreError
from engines.store.rows import ACTIVE, QUEUED

SUFFIX = ".workbench"
FORMAT = 1
PART = 20_000
"""Rows that are copied at once."""
CHUNK = 1 << 20
LEFT_OUT = {"checkpoint", "profile.part"}
"""Of a run's folder: what only its own machine can use."""
WEIGHTS = {".safetensors", ".pt2", ".onnx"}
KINDS = {".safetensors", ".json", ".log", ".txt", ".md", ".csv", ".html", ".svg", ".png", ".gz", ".onnx", ".toml", ".tsv"}
"""Endings of files that hold data and no code."""


@dataclass(frozen=True)
class Packed:
    """What was written: the file, its bytes, its files, and bytes of weights in it or left out."""

    path: Path
    bytes: int
    files: int
    weights: int


# --- Packing ----------------------------------------------------------------------------------------------------------------------------------


def pack(store: Store, experiment_id: int, out: Path, *, weights: bool = True) -> Packed:
    """Write the bundle of an experiment whose runs have ended. weights: with the finished models.

    Raises StoreError: no such experiment, runs under way, a file that cannot be written.
    """
    experiment = queries.experiment(store, experiment_id)
    runs = queries.runs(store, experiment_id)
    open_ones = [run.id for run in runs if run.status in (QUEUED, *ACTIVE)]
    if open_ones:
        named = ", ".join(f"r{each}" for each in open_ones)
        raise StoreError(f"Runs of experiment {experiment_id} are under way ({named}): bundle it when they have ended.")
    held = 0
    try:
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".bundle-") as folder:
            part, archive = Path(folder) / "store.sqlite", Path(folder) / "archive"
            _copy_rows(store, experiment_id, [run.id for run in runs], part)
            listed: dict[str, dict[str, Any]] = {}
            with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as written:
                _add(written, listed, "store.sqlite", part)
                for run in runs:
                    for path in _files(store.run_folder(run.id)):
                        heavy = path.suffix in WEIGHTS
                        held += path.stat().st_size if heavy else 0
                        if weights or not heavy:
                            _add(written, listed, f"files/{path.relative_to(store.folder).as_posix()}", path)
                described = report_description(store.folder, [experiment_id])
                if described.is_file():
                    _add(written, listed, f"files/{described.relative_to(store.folder).as_posix()}", described)
                manifest = {
                    "format": FORMAT, "version": tables.VERSION, "experiment": experiment.name, "id": experiment_id, "made": time.time(),
                    "weights": weights, "files": listed,
                }  # fmt: skip
                written.writestr("manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False))
            archive.replace(out)
    except OSError as error:
        raise StoreError(f"{out} cannot be written: {error.strerror or error}.") from error
    return Packed(out, out.stat().st_size, len(listed), held)


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.suffix in KINDS and not LEFT_OUT & set(path.relative_to(folder).parts):
            yield path


def _add(archive: zipfile.ZipFile, listed: dict[str, dict[str, Any]], name: str, path: Path) -> None:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as source, archive.open(zipfile.ZipInfo(name, time.localtime()[:6]), "w", force_zip64=True) as target:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            target.write(chunk)
    listed[name] = {"bytes": size, "sha256": digest.hexdigest()}


def _copy_rows(store: Store, experiment_id: int, run_ids: list[int], path: Path) -> None:
    """The rows of one experiment, ids kept, into a fresh store in one file."""
    t = tables
    series = select(t.series.c.id).where(t.series.c.run_id.in_(run_ids))
    sessions = select(t.timing.c.id).where(t.timing.c.experiment_id == experiment_id)
    machines = select(t.run.c.machine_id).where(t.run.c.id.in_(run_ids))
    of_run = [(table, select(table).where(table.c.run_id.in_(run_ids))) for table in (t.series, t.result, t.effect, t.event, t.artifact)]
    of_series = [(table, select(table).where(table.c.series_id.in_(series))) for table in (t.point, t.bucket)]
    of_experiment = [(table, select(table).where(table.c.experiment_id == experiment_id)) for table in (t.variant, t.timing, t.note, t.tag)]
    asked: list[tuple[Any, Select[Any]]] = [
        (t.machine, select(t.machine).where(t.machine.c.id.in_(machines))),
        (t.experiment, select(t.experiment).where(t.experiment.c.id == experiment_id)),
        *of_experiment[:1], (t.run, select(t.run).where(t.run.c.id.in_(run_ids))), *of_experiment[1:], *of_run, *of_series,
        (t.round, select(t.round).where(t.round.c.timing_id.in_(sessions))),
    ]  # fmt: skip
    with Store.open(str(path)) as copy, store.reading() as source, copy.writing() as target:
        for table, rows in asked:
            for part in source.execution_options(yield_per=PART).execute(rows).partitions():
                target.execute(insert(table), [_freed(table, dict(row._mapping)) for row in part])
        target.execute(update(t.experiment).values(deleted=None))
    # One file: what the log of writes still holds goes into it.
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode=DELETE")
    connection.close()


def _freed(table: Any, row: dict[str, Any]) -> dict[str, Any]:
    """A row without what ties it to the processes of its store."""
    return row | {"supervisor_id": None, "pid": None, "claim": ""} if table is tables.run else row


# --- Opening ----------------------------------------------------------------------------------------------------------------------------------


def is_bundle(name: str | None) -> bool:
    """Whether what was named as a store is a bundle."""
    return bool(name) and str(name).endswith(SUFFIX)


def unpack(path: Path, into: Path | None = None) -> str:
    """Check a bundle and lay it out; returns the URL of its store, to be opened read-only. One that was laid out before is used again.

    into: the folder for laid-out bundles (default: the user's cache). Raises StoreError with what is wrong with it.
    """
    try:
        sealed = _digest(path)
        folder = (into or cache_folder() / "bundles") / sealed[:20]
        store = folder / f"{path.stem}.sqlite"
        if not (folder / LAID_OUT).exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            with zipfile.ZipFile(path) as archive:
                _lay_out(archive, path, folder, store)
            _settle(store, path)
            (folder / LAID_OUT).touch()
    except zipfile.BadZipFile as error:
        raise StoreError(f"{path} is no bundle: {error}.") from error
    except OSError as error:
        raise StoreError(f"The bundle {path} cannot be opened: {error.strerror or error}.") from error
    return f"sqlite:///{next(folder.glob('*.sqlite')).absolute().as_posix()}"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _manifest(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(archive.read("manifest.json"))
        version, files = int(found["format"]), found["files"]
        if not all(isinstance(each["bytes"], int) and isinstance(each["sha256"], str) for each in files.values()):
            raise ValueError("Sizes are whole numbers and seals are texts.")
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is no bundle of the workbench: its manifest is missing or cannot be read.") from error
    if version > FORMAT or str(found.get("version", "")) > tables.VERSION:
        raise StoreError(f"{path} was made by a newer workbench: update this one to open it.")
    return found


def _lay_out(archive: zipfile.ZipFile, path: Path, folder: Path, store: Path) -> None:
    files = _manifest(archive, path)["files"]
    entries = {entry.filename: entry for entry in archive.infolist() if entry.filename != "manifest.json"}
    if set(entries) != set(files) or "store.sqlite" not in files:
        raise StoreError(f"The bundle {path} holds other files than its manifest names.")
    needed = sum(each["bytes"] for each in files.values())
    if needed > shutil.disk_usage(folder).free:
        raise StoreError(f"The bundle {path} needs {needed / 2**20:,.0f} MiB when laid out, more than is free in {folder}.")
    for name, entry in entries.items():
        _refuse_unsafe(name, entry, path)
        target = store if name == "store.sqlite" else files_folder(f"sqlite:///{store}") / PurePosixPath(name).relative_to("files")
        target.parent.mkdir(parents=True, exist_ok=True)
        _extract(archive, entry, target, files[name], path)


def _refuse_unsafe(name: str, entry: zipfile.ZipInfo, path: Path) -> None:
    place = PurePosixPath(name)
    inside = name == "store.sqlite" or (place.parts[0] == "files" and len(place.parts) > 1)
    if not inside or ".." in place.parts or "\\" in name or ":" in name or stat.S_ISLNK(entry.external_attr >> 16):
        raise StoreError(f"The bundle {path} is not safe to open: {name!r} would lie outside of it.")
    if name != "store.sqlite" and place.suffix not in KINDS:
        raise StoreError(f"The bundle {path} is not safe to open: {name!r} may hold code.")


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, said: dict[str, Any], path: Path) -> None:
    """Write one file, never more of it than the manifest says."""
    digest, size = hashlib.sha256(), 0
    try:
        with archive.open(entry) as source, target.open("wb") as file:
            while chunk := source.read(CHUNK):
                size += len(chunk)
                if size > said["bytes"]:
                    break
                digest.update(chunk)
                file.write(chunk)
    except (zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError) as error:
        raise StoreError(f"The bundle {path} is damaged: {entry.filename}: {error}.") from error
    if size != said["bytes"] or digest.hexdigest() != said["sha256"]:
        raise StoreError(f"The bundle {path} is damaged: {entry.filename} is not what its manifest says.")


def _settle(store: Path, path: Path) -> None:
    """Make sure that the file holds tables alone, bring it to today's format, and let its paths point to where its files lie now."""
    try:
        with sqlite3.connect(store) as connection:
            connection.execute("PRAGMA trusted_schema=OFF")
            strange = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('trigger', 'view') OR sql LIKE 'CREATE VIRTUAL%'").fetchone()
        connection.close()
    except sqlite3.DatabaseError as error:
        raise StoreError(f"The bundle {path} is damaged: {error}.") from error
    if strange is not None:
        raise StoreError(f"The bundle {path} is not safe to open: its store holds {strange[0]!r}, which is no table.")
    with Store.open(str(store)) as opened, opened.writing() as connection_:
        _point_here(connection_, opened.folder)
    for extra in store.parent.glob(f"{store.name}-*"):
        extra.unlink()


def _point_here(connection: Connection, folder: Path) -> None:
    for row in connection.execute(select(tables.artifact.c.id, tables.artifact.c.run_id, tables.artifact.c.path)).all():
        parts = Path(row.path).parts
        # The folder of a run carries its id: what lies below it is where it was.
        below = parts[len(parts) - parts[::-1].index(str(row.run_id)) :] if str(row.run_id) in parts else parts[-1:]
        here = str(folder.joinpath("runs", str(row.run_id), *below))
        connection.execute(update(tables.artifact).where(tables.artifact.c.id == row.id).values(path=here))
