"""The process in which a finished model is measured (`engines.runtime.evaluate`), from the run that asks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from engines.hearing import ended, last_said
from engines.store.rows import ResultRow

if TYPE_CHECKING:
    from types import TracebackType

LOOK_SECONDS = 0.25
"""How often it looks whether it is to stop."""


class EvaluationError(RuntimeError):
    """The process that measures a finished model failed; the message is for the user."""


class Examination:
    """The process that measures the finished model in a folder: started with the block, at work from `figures` on, ended with the block."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self._command = [sys.executable, "-m", "engines.runtime.evaluate", "--model", str(folder), "--device", str(device), "--wait"]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Examination:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return self

    def figures(self, announce: Callable[[str], None], stopped: Callable[[], bool]) -> tuple[list[ResultRow], dict[str, Any]]:
        """The figures of the model and its work (`operations`), measured by a process that holds nothing else; none where `stopped` says so first.

        Raises EvaluationError with the last words of a process that failed.
        """
        process, begin = self._process, "begin\n"
        assert process is not None
        while True:
            try:
                out, words = process.communicate(begin, timeout=LOOK_SECONDS)
                break
            except subprocess.TimeoutExpired:
                begin = ""
                if stopped():
                    return [], {}
        answer = last_said(out)
        if process.returncode or not answer:
            last = words.strip().splitlines()[-1] if words.strip() else f"exit code {process.returncode}"
            raise EvaluationError(f"The finished model could not be measured: {last}")
        for sentence in answer["told"]:
            announce(sentence)
        return [ResultRow(**row) for row in answer["rows"]], answer["work"]

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        process, self._process = self._process, None
        ended(process)
