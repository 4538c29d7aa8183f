"""Where a store lies: its URL and, for an SQLite store, its file. Imports no SQL, so that light processes may ask."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from engines.places import user_folder

LAID_OUT = "complete"
"""A file beside the store of a bundle that was laid out whole."""


def store_url(text: str | None = None) -> str:
    """The absolute SQLAlchemy URL of a store named by a URL, by the path of an SQLite file, or by nothing.

    Nothing means the environment variable WORKBENCH_STORE, else `workbench.sqlite` in the user's data folder.
    """
    text = text or os.environ.get("WORKBENCH_STORE") or str(user_folder() / "workbench.sqlite")
    if "://" in text and not text.startswith("sqlite"):
        return text
    path = Path(text.partition(":///")[2].partition("?")[0] if "://" in text else text)
    in_memory = path.name in {"", ":memory:"}
    return "sqlite://" if in_memory else f"sqlite:///{path.expanduser().absolute().as_posix()}"


def sqlite_path(url: str) -> Path | None:
    """The file of an SQLite store; None for another database."""
    return Path(url.partition(":///")[2]) if url.startswith("sqlite:///") else None


def files_folder(url: str) -> Path:
    """Where the large files of a store lie (not created): beside an SQLite file, else in the user's data folder, one folder a store."""
    path = sqlite_path(url)
    if path is not None:
        return path.with_name(path.name + ".files")
    return user_folder() / "files" / hashlib.sha256(url.encode()).hexdigest()[:16]


def report_description(files: Path, experiment_ids: Iterable[int]) -> Path:
    """Where, in the folder of a store's files, the description of these experiments' report lies."""
    return files / "reports" / f"{'+'.join(map(str, experiment_ids))}.toml"


def is_laid_out(model: Path) -> bool:
    """Whether the folder of a finished model came out of a bundle: `<laid out>/<store>.files/runs/<run>/model`."""
    parents = model.resolve().parents
    return len(parents) > 3 and (parents[3] / LAID_OUT).is_file()
