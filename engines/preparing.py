"""Preparing a corpus in a process of its own: what tokenising takes would else be in the memory of the one run that came first.

    python -m engines.preparing CHOICE CACHE

CHOICE: the corpus of a plan as JSON. It prints lines of JSON, {"say": sentence} and {"error": sentence}. No torch.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from engines import catalogue
from engines.api import Corpus, CorpusError
from engines.hearing import last_said
from engines.launching import process_environment
from engines.telling import tell


def in_own_process(choice: Mapping[str, Any], cache: Path, announce: Callable[[str], None]) -> None:
    """Prepare a corpus, so that it need only be read. Raises CorpusError.

    A process that ends in another way prepares nothing; who reads the corpus then meets what stood in its way.
    """
    command = [sys.executable, "-m", "engines.preparing", json.dumps(choice), str(cache)]
    environment = process_environment()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said = last_said(line)
            if "error" in said:
                raise CorpusError(said["error"])
            if "say" in said:
                announce(said["say"])


def main() -> int:
    """Prepare the corpus of the command line; returns the exit code."""
    choice, cache = json.loads(sys.argv[1]), Path(sys.argv[2])
    corpus = cast(Corpus, catalogue.load(choice.pop("id"))(**choice))
    try:
        corpus.prepare(cache, lambda sentence: tell(say=sentence))
    except CorpusError as error:
        tell(error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
