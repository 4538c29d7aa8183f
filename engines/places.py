"""Folders of this user: what is kept, and what can be made anew."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

NAME = "efficiency-workbench"


def user_folder() -> Path:
    """The user's own data folder (not created)."""
    return Path(platformdirs.user_data_dir(NAME, appauthor=False))


def cache_folder() -> Path:
    """Prepared corpora, the catalogue and whatever else can be made anew (not created); WORKBENCH_CACHE moves it."""
    return Path(os.environ.get("WORKBENCH_CACHE") or platformdirs.user_cache_dir(NAME, appauthor=False))
