"""One run, from its claim to its last figure, in a process of its own.

    python -m engines.runtime.worker --store URL --run ID --claim TOKEN
    python -m engines.runtime.worker --store URL --spare

A spare one loads what every run needs and waits for a line {"run", "claim", "folder"} before it begins.

Commands come over standard input: a line `stop` ends the run cleanly (checkpoint, status cancelled); the end of the pipe means that the
supervisor is gone, and the worker with it. Facts go into the store, each write under the claim.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import traceback
from pathlib import Path

import torch

from engines.api import CorpusError
from engines.catalogue import BrokenPlugin, UnknownPlugin
from engines.runtime.checkpoint import CheckpointError
from engines.runtime.examination import EvaluationError
from engines.runtime.failures import ran_out
from engines.runtime.finished import FinishedError
from engines.runtime.losses import Diverged
from engines.runtime.memorylog import load_optimizers
from engines.runtime.ownmetric import MetricError
from engines.runtime.pipeline import RecipeError
from engines.runtime.plan import PlanError
from engines.runtime.recorder import Recorder
from engines.runtime.run import Run
from engines.runtime.teachers import TeacherError
from engines.runtime.train import Cancelled, Control
from engines.store import commands, queries
from engines.store.commands import ClaimLost
from engines.store.database import Store, StoreError

SUPERVISOR_GONE = 75
CLAIM_LOST = 76
STORE_FAILED = 74

_REQUEST_IS_WRONG = (
    CorpusError, PlanError, RecipeError, UnknownPlugin, BrokenPlugin, FinishedError, CheckpointError, EvaluationError,
    MetricError, TeacherError,
)
_OUT_OF_MEMORY_ADVICE = (
    "Use a smaller batch or sequence, memory/gradient_accumulation, memory/gradient_checkpointing, precision/mixed, or a head that does not "
    "hold all logits (softmax/adaptive, softmax/importance_sampled)."
)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="engines.runtime.worker")
    parser.add_argument("--store", required=True)
    parser.add_argument("--run", type=int)
    parser.add_argument("--claim")
    parser.add_argument("--spare", action="store_true")
    arguments = parser.parse_args(argv)
    if arguments.spare:
        arguments.run, arguments.claim = _told_which()
    elif arguments.run is None or arguments.claim is None:
        parser.error("--run and --claim are needed, or --spare")
    control = Control()
    threading.Thread(target=_listen, args=(control,), name="commands", daemon=True).start()
    try:
        store = Store.open(arguments.store)
        return _run(store, arguments.run, arguments.claim, control)
    except ClaimLost as error:
        sys.stderr.write(f"This worker no longer owns run {arguments.run}: {error}\n")
        return CLAIM_LOST
    except StoreError as error:
        sys.stderr.write(f"The store failed: {error}\n")
        return STORE_FAILED


def _told_which() -> tuple[int, str]:
    """Wait for a run; what is said from then on goes into its log. Ends with the pipe."""
    load_optimizers()
    line = sys.stdin.readline()
    if not line:
        os._exit(SUPERVISOR_GONE)
    told = json.loads(line)
    folder = Path(told["folder"])
    log = os.open(folder / "worker.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(log, stream.fileno())
    os.close(log)
    os.chdir(folder)
    return int(told["run"]), str(told["claim"])


def _listen(control: Control) -> None:
    for line in sys.stdin:
        if line.strip() == "stop":
            control.stop = True
    # The supervisor's end of the pipe closed: nobody would see this run's death any more. What is unwritten is at most half a second old.
    os._exit(SUPERVISOR_GONE)


def _run(store: Store, run_id: int, claim: str, control: Control) -> int:
    row = queries.run(store, run_id)
    recorder = Recorder(store, run_id, claim)
    run = Run(store, row, claim, recorder, control)
    try:
        run.execute()
        status, reason, advice = "done", "", ""
    except Cancelled:
        status, reason, advice = "cancelled", "Stopped on request; a checkpoint was written.", "Resume continues from it."
    except Diverged as error:
        status, reason = "failed", str(error)
        advice = "Lower the learning rate, add optimization/clip_norm, or use bf16 instead of fp16; the points up to here are kept."
    except _REQUEST_IS_WRONG as error:
        status, reason, advice = "failed", str(error), ""
    except (ClaimLost, StoreError):
        raise
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything; the run must end with what it said
        traceback.print_exc()
        status, (reason, advice) = "failed", _explain(error)
    # A failure of the recorder is why the run ended, whatever it said itself.
    recorder.close()
    recorder.check()
    commands.finish_run(store, run_id, claim, status, reason, advice)
    if status == "done":
        run.discard_checkpoint()
    return 0 if status == "done" else 1


def _explain(error: Exception) -> tuple[str, str]:
    """(reason, advice) for an exception out of torch or a plugin."""
    text = str(error).strip() or type(error).__name__
    if ran_out(error):
        of_gpu = isinstance(error, torch.OutOfMemoryError) or "CUDA" in text
        return f"{'CUDA out of memory' if of_gpu else 'Out of host memory'}: {text.splitlines()[0]}", _OUT_OF_MEMORY_ADVICE
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}:{place.lineno}"
    return f"{type(error).__name__} at {where}: {text[:600]}", "The full traceback is in the run's log."


if __name__ == "__main__":
    sys.exit(main())
