"""What a program of the engine says to who runs it (`engines.hearing`): lines of JSON on its standard output."""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

ORPHANED = 75
"""Exit code of a program whose asker is gone."""


def tell(**said: Any) -> None:
    """One line, at once."""
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def end_with_input() -> None:
    """End this process when its standard input ends: who asked is gone then, nobody waits for the answer, and others wait for the machine."""

    def wait() -> None:
        sys.stdin.read()
        os._exit(ORPHANED)

    threading.Thread(target=wait, name="input", daemon=True).start()
