"""What processes without a console say of themselves: lines with the time, on standard error, which is their log."""

from __future__ import annotations

import sys
import time


def say(sentence: str) -> None:
    """One line, written at once."""
    sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {sentence}\n")
    sys.stderr.flush()
