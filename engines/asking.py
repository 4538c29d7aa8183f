"""The client of the inspector: what needs the plugins' code but no run. The inspector is a process of its own; its death is a sentence."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from types import TracebackType
from typing import IO, Any

from engines.launching import process_environment

INSPECTOR_MODULE = "engines.runtime.inspector"
ANSWER_SECONDS = 300.0


class InspectorError(RuntimeError):
    """The inspector refused, died, or did not answer; the message is a sentence for the user."""


class Inspector:
    """Starts with the first question and ends with the block; one question at a time.

        with Inspector() as inspector:
            problems = inspector.ask("validate", plans=plans)["problems"]

    `start` lets it import torch while the caller does other things.
    """

    def __init__(self, module: str = INSPECTOR_MODULE) -> None:
        self._module = module
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[bytes] | None = None
        self._number = 0

    def start(self) -> Inspector:
        """Have the process begin; nothing where it has."""
        if self._process is None:
            # A file, not a pipe: what a plugin prints while it is imported cannot fill it and block the process.
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed in `close`
            self._process = subprocess.Popen(
                [sys.executable, "-m", self._module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                encoding="utf-8",
                env=process_environment(),
            )
        return self

    def ask(self, question: str, /, *, timeout: float = ANSWER_SECONDS, **details: Any) -> Any:
        """The answer to one question. Raises InspectorError with the inspector's sentence, or with what is known of its death."""
        process = self.start()._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        self._number += 1
        alarm = threading.Timer(timeout, process.kill)
        alarm.start()
        try:
            process.stdin.write(json.dumps({"id": self._number, "ask": question, **details}) + "\n")
            process.stdin.flush()
            reply = self._reply(process.stdout)
        except BrokenPipeError:
            reply = None
        finally:
            timely = alarm.is_alive()
            alarm.cancel()
        if reply is None:
            raise InspectorError(self._obituary(question, timeout, timely))
        if "error" in reply:
            raise InspectorError(str(reply["error"]))
        return reply.get("answer")

    def _reply(self, stream: IO[str]) -> dict[str, Any] | None:
        """The line that answers the current question; anything else that reached standard output is passed over."""
        for line in stream:
            with suppress(ValueError):
                found = json.loads(line)
                if isinstance(found, dict) and found.get("id") == self._number:
                    return found
        return None

    def _obituary(self, question: str, timeout: float, timely: bool) -> str:
        code = self._process.wait() if self._process is not None else None
        said = ""
        if self._errors is not None:
            self._errors.seek(0)
            lines = self._errors.read().decode("utf-8", errors="replace").strip().splitlines()
            said = f" Its last words: {lines[-1]}" if lines else ""
        self.close()
        if not timely:
            return f'The inspector did not answer "{question}" within {timeout:.0f} s and was ended.{said}'
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return f'The inspector died of "{question}" ({how}).{said}'

    def close(self) -> None:
        """End the process; one that does not go when its input ends is killed."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(BrokenPipeError):
                assert process.stdin is not None
                process.stdin.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()
        if self._errors is not None:
            self._errors.close()
            self._errors = None

    def __enter__(self) -> Inspector:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
