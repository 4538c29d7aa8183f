"""Run a program of the engine to its end and hear what it says: lines of JSON on its standard output."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, Any

from engines.launching import process_environment


def heard(words: Sequence[str], errors: IO[bytes], hear: Callable[[dict[str, Any]], None]) -> tuple[dict[str, Any], int]:
    """The last line that it said, and its exit code. words: after the interpreter; errors: takes its standard error; hear: gets each line.

    What a plugin prints between the lines is passed over. An exception here (Ctrl+C) ends the program.
    """
    process = subprocess.Popen(
        [sys.executable, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8",
        env=process_environment(),
    )  # fmt: skip
    last: dict[str, Any] = {}
    with process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                with suppress(ValueError):
                    said = json.loads(line)
                    if isinstance(said, dict):
                        last = said
                        hear(said)
            process.wait()
        finally:
            if process.poll() is None:
                process.kill()
    return last, process.returncode


def last_said(out: str) -> dict[str, Any]:
    """The last line of JSON in what a program wrote to its standard output; empty where there is none. What plugins printed is passed over."""
    for line in reversed(out.splitlines()):
        with suppress(ValueError):
            if isinstance(said := json.loads(line), dict):
                return said
    return {}


def ended(process: subprocess.Popen[str] | None) -> None:
    """End a program that still runs, and take what it said."""
    if process is not None and process.poll() is None:
        process.kill()
        process.communicate()
