"""The package from outside is installed as a person would install it. Nothing is fetched: the build tool is part of the test dependencies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def install(folder: Path) -> str:
    """Put the package into an empty folder; returns it as an entry of PYTHONPATH."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--target", str(folder)]
    done = subprocess.run([*command, str(Path(__file__).parent)], capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return str(folder)
