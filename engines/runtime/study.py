"""One study, measured in a process of its own.

    python -m engines.runtime.study --store URL --study ID [--parameters JSON]

It holds the machine's timing lock while it measures, and writes its result into the store once, when all of it is known: a study that is
stopped or dies leaves no half of one. Standard output is one JSON object a line:

    {"event": "waiting", "sentence"}                        another timing goes on; once, before `begun`
    {"event": "begun", "id", "study", "title", "parameters", "x": axis, "y": axis, "expects"}      id: its row in the store
    {"event": "progress", "done", "total", "x", "curves"}   cells done of all; the group that is measured now (x null: the steps)
    {"event": "left", "curve", "x", "why"}                  a cell that is left out, with the end of a sentence
    {"event": "point", "curve", "x", "value", "low", "high", "n", "seconds"}       and "memory_bytes", "setting", "facts", as in the result
                                                                                   (engines.runtime.outcome)
    {"event": "ended", "id", "status", "reason"}            done, failed or cancelled: the last line. Read the result from the store

A request that is wrong is answered before anything is measured or stored: {"event": "refused", "sentence"}, exit code 2. Else the exit code is
0 done, 1 failed, 130 cancelled. It is cancelled by Ctrl+C, SIGTERM, and when its standard input ends, which whoever started it holds open;
what the input said until then is the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from engines import catalogue, peaks, probes
from engines.api import CorpusError, Study, Text, Trained
from engines.catalogue import BrokenPlugin, UnknownPlugin
from engines.machinestate import BUSY_PERCENT
from engines.runtime import outcome
from engines.runtime.finished import FinishedError, load_finished
from engines.runtime.inspector import own_stdout
from engines.runtime.plan import PlanError, block, device_of, plugin, text_of
from engines.runtime.rounds import Rounds, Stopped, StudyError, Times
from engines.store import commands
from engines.store.database import Store, StoreError
from engines.store.rows import CANCELLED, DONE, FAILED
from engines.timinglock import machine_to_ourselves, who_times

LOOK_SECONDS = 0.5
EXITS = {DONE: 0, FAILED: 1, CANCELLED: 130}
REFUSED = 2

Tell = Callable[..., None]


def study_of(id: str, parameters: Mapping[str, Any]) -> Study:
    """The study with these parameters. Raises UnknownPlugin, BrokenPlugin, PlanError with a sentence."""
    found = plugin({"id": id, **parameters})
    if not isinstance(found, Study):
        raise PlanError(f"{id} is a {found.kind}, not a study.")
    if device := getattr(found, "device", ""):
        device_of(device)
    return found


def measure(
    study: Study, title: str, *, stop: Callable[[], None] = lambda: None, tell: Tell = lambda **event: None,
    stored: outcome.Peaks = lambda device, threads: None, folder_of: Callable[[str], Path] = Path,
) -> dict[str, Any]:  # fmt: skip
    """The result of a study, without `machine`. folder_of: where the finished model that a study names lies.

    Raises Stopped from `stop`, StudyError, CorpusError.
    """
    tell = _of_facts(tell) if study.x.fact else tell
    rounds = Rounds(study.seconds, stop=stop, tell=tell, memory=study.memory)
    if name := study.finished():
        groups = list(study.groups_of(lambda: _trained(folder_of(name))))
    else:
        groups = list(study.groups_with(_text(study), block))
    times: list[Times] = []
    before = torch.get_num_threads()
    try:
        for each in rounds.run(groups):
            times.append(each)
            _tell_points(study, each, tell)
    finally:
        torch.set_num_threads(before)
    if not times:
        raise StudyError("Nothing could be measured: " + " ".join(outcome.left_out(rounds.left, study.x)))
    figures = outcome.Figures(times, stored, study.x)
    settings = {"parameters": study.model_dump(mode="json"), "torch": torch.__version__, "seed_of_order": 0}
    return outcome.result(study, title, times, rounds.left, figures) | {"settings": settings}


def _text(study: Study) -> Text | None:
    choice = study.corpus()
    if choice is None:
        return None
    corpus: Any = plugin(choice)
    corpus.check()
    return text_of(corpus, lambda sentence: None)


def _trained(folder: Path) -> Trained:
    """The finished model in a folder. Raises StudyError with the reason."""
    try:
        found = load_finished(folder)
    except FinishedError as error:
        raise StudyError(str(error)) from error
    return Trained(found.model, found.text)


def _of_facts(tell: Tell) -> Tell:
    """What goes on, where the x of a group is only its place in the order: that is nobody's business."""

    def without_x(**event: Any) -> None:
        tell(**event | ({"x": None} if event["event"] in ("progress", "left") else {}))

    return without_x


def _tell_points(study: Study, times: Times, tell: Tell) -> None:
    figures = outcome.Figures([times], axis=study.x)
    for curve in times.seconds:
        x = figures.x_of(times, curve)
        found = None if x is None else outcome.point(figures, study.y, curve, x)
        if found:
            tell(event="point", curve=curve, **found)


# --- The process ----------------------------------------------------------------------------------------------------------------------------


class Session:
    """One study from its request to its row in the store."""

    def __init__(self, store: Store, id: str, parameters: Mapping[str, Any], stop: Callable[[], None], tell: Tell) -> None:
        self._store, self._id, self._stop, self._tell = store, id, stop, tell
        self._study = study_of(id, parameters)
        self._title = catalogue.entry(id)["title"]
        self._number = 0

    def run(self) -> str:
        """Measure and store; returns done, failed or cancelled."""
        try:
            with machine_to_ourselves(LOOK_SECONDS, self._wait, f"the study {self._id}"):
                return self._measure()
        except Stopped as reason:
            # Before it had a row.
            self._tell(event="ended", id=None, status=CANCELLED, reason=str(reason))
            return CANCELLED

    def _measure(self) -> str:
        facts = probes.machine_facts()
        fingerprint = probes.fingerprint(facts)
        machine = commands.put_machine(self._store, fingerprint, facts)
        parameters = self._study.model_dump(mode="json")
        process = (platform.node(), os.getpid(), probes.started(os.getpid()))
        self._number = commands.begin_study(self._store, self._id, parameters, machine, *process)
        self._tell(
            event="begun", id=self._number, study=self._id, title=self._title, parameters=parameters, x=outcome.axis(self._study.x),
            y=outcome.axis(self._study.y), expects=self._study.expects,
        )  # fmt: skip
        status, reason, result = FAILED, "It ended with an error that its process could not explain.", None
        try:
            loads = [probes.load_within(LOOK_SECONDS)]
            stored = partial(peaks.stored, fingerprint)
            result = measure(self._study, self._title, stop=self._stop, tell=self._tell, stored=stored, folder_of=self._folder_of)
            loads.append(probes.load_within(LOOK_SECONDS))
            result["machine"] = {"fingerprint": fingerprint, **facts, "loads": loads}
            result["findings"] += _disturbance(loads)
            status, reason = DONE, ""
        except Stopped as stopped:
            status, reason = CANCELLED, str(stopped)
        except (StudyError, CorpusError, PlanError) as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001  a plugin may raise anything; the study must end with what it said
            traceback.print_exc()
            place = traceback.extract_tb(error.__traceback__)[-1]
            reason = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}: {str(error)[:600]}"
        finally:
            commands.finish_study(self._store, self._number, status, result=result if status == DONE else None, reason=reason)
        self._tell(event="ended", id=self._number, status=status, reason=reason)
        return status

    def _folder_of(self, name: str) -> Path:
        return self._store.model_folder(int(name)) if name.isdigit() else Path(name)

    def _wait(self, path: Path) -> None:
        if self._number == 0:
            self._number = -1
            self._tell(event="waiting", sentence=f"Waits for {who_times() or path}, which is being timed on this machine.")
        self._stop()


def _disturbance(loads: list[dict[str, float]]) -> list[str]:
    worst = max(load["machine_percent"] for load in loads)
    if worst <= BUSY_PERCENT:
        return []
    return [f"Other work used {worst:.0f}% of the machine right before or after this was measured: intervals are wider, and threads gain less."]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="engines.runtime.study", description="Measures one study.")
    parser.add_argument("--store", default=None, help="SQLAlchemy URL of the store")
    parser.add_argument("--study", required=True, help="id of the plugin, as in studies/matmul")
    parser.add_argument("--parameters", default="{}", help="JSON object")
    arguments = parser.parse_args(argv)
    out = own_stdout()
    reasons: list[str] = []

    def tell(**event: Any) -> None:
        try:
            out.write(json.dumps(event, ensure_ascii=False) + "\n")
            out.flush()
        except BrokenPipeError:
            # It ends at the next turn, and the store is told.
            reasons.append("Whoever read its lines has gone.")

    def end(number: int, frame: FrameType | None) -> None:
        reasons.append(f"Stopped ({signal.Signals(number).name}).")

    def follow_input() -> None:
        reasons.append(sys.stdin.read().strip() or "Whoever started it has gone.")

    def stop() -> None:
        if reasons:
            raise Stopped(reasons[0])

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    threading.Thread(target=follow_input, name="input", daemon=True).start()
    try:
        session = Session(Store.open(arguments.store), arguments.study, json.loads(arguments.parameters), stop, tell)
    except (UnknownPlugin, BrokenPlugin, PlanError, StoreError, ValueError) as error:
        tell(event="refused", sentence=str(error))
        return REFUSED
    try:
        return EXITS[session.run()]
    except StoreError as error:
        tell(event="ended", id=None, status=FAILED, reason=str(error))
        return EXITS[FAILED]


if __name__ == "__main__":
    sys.exit(main())
