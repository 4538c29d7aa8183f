"""One variant in a process of its own, timed on request: the far end of `engines.stopwatches`.

    python -m engines.runtime.timing --model FOLDER [--target JSON] [--batches JSON]
    python -m engines.runtime.timing --train FOLDER [--seed N] [--teachers JSON]

It loads a finished model, or builds the training of a plan, and says so in one JSON line, {"loaded": true}. Then each line it is sent is
answered by one: {"warm": true} by how long things take, {"turn": {work: repeats}} by the figures of one turn. Between two lines it waits and
uses no processor. It opens no store. It ends when its standard input ends.
Whatever plugins print goes to standard error.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from engines.api import CorpusError
from engines.catalogue import BrokenPlugin, UnknownPlugin
from engines.runtime.failures import first_line, ran_out
from engines.runtime.finished import FinishedError
from engines.runtime.graphs import NotExportable
from engines.runtime.inspector import own_stdout
from engines.runtime.losses import Diverged
from engines.runtime.pipeline import RecipeError
from engines.runtime.plan import PlanError
from engines.runtime.turns import Inference, Subject, Training


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="engines.runtime.timing")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--model", type=Path, help="folder of a finished model to time")
    what.add_argument("--train", type=Path, help="folder of a finished model whose training to time")
    parser.add_argument("--target", default="{}", help="device, threads and batch as JSON; what is left out is the model's own")
    parser.add_argument("--batches", default="[]", help="further batch sizes at which scoring is timed, as JSON")
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--teachers", default="{}", help="variant -> folder of its finished model, as JSON")
    arguments = parser.parse_args(argv)
    out = own_stdout()
    try:
        subject = _subject(arguments)
        _answer(out, {"loaded": True})
        for line in sys.stdin:
            asked = json.loads(line)
            if "warm" in asked:
                pace = subject.warm()
                # What lives now lives on: collecting between windows need not walk through all of it each time.
                gc.collect()
                gc.freeze()
                _answer(out, pace)
            else:
                _answer(out, subject.turn(asked["turn"]))
    except (
        CorpusError, PlanError, FinishedError, NotExportable, RecipeError, UnknownPlugin, BrokenPlugin, Diverged, NotImplementedError, RuntimeError,
        MemoryError,
    ) as error:  # fmt: skip
        # RuntimeError is what torch raises where a kernel does not exist on a device, or memory runs out.
        _answer(out, {"error": first_line(error), "memory": ran_out(error)})
        return 1
    return 0


def _subject(arguments: argparse.Namespace) -> Subject:
    if arguments.train is not None:
        return Training(arguments.train, arguments.seed, {name: Path(folder) for name, folder in json.loads(arguments.teachers).items()})
    return Inference(arguments.model, json.loads(arguments.target), json.loads(arguments.batches))


def _answer(out: IO[str], figures: Mapping[str, Any]) -> None:
    out.write(json.dumps(figures) + "\n")
    out.flush()


if __name__ == "__main__":
    sys.exit(main())
