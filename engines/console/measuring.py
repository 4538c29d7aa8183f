"""`workbench doctor --measure`: the machine's peaks, measured once while nothing else is timed, and how they are shown."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from engines import peaks, probes
from engines.console.output import RequestError, columns, note, say, when, write_json
from engines.launching import process_environment
from engines.timinglock import machine_to_ourselves, who_times

MODULE = "engines.runtime.roofline"
LIMIT_SECONDS = 60.0
"""Without a word from the measuring process; it takes a few seconds for each device, and some for loading torch."""
LOOK_SECONDS = 2.0
UNSTABLE = 0.25
"""A spread from which a figure is marked as not to be trusted."""


def measure(arguments: argparse.Namespace) -> int:
    """Measure, store and print the peaks of the CPU (one thread, and as many as runs use by default) and of each GPU; or of what was asked for.

    Exit code 0, or 1 where a device could not be measured.
    """
    fingerprint = probes.fingerprint(probes.machine_facts())
    measured, failed = [], False
    with machine_to_ourselves(LOOK_SECONDS, _wait, "what this machine can do at best (workbench doctor --measure)"):
        asked = _asked(arguments)
        try:
            for (device, threads), found in zip(asked, in_own_process(asked, note), strict=False):
                if isinstance(found, str):
                    note(f"{_place(device, threads)} could not be measured: {found}")
                    failed = True
                    continue
                peaks.keep(fingerprint, found)
                measured.append(found)
                note(summary(found))
        except MeasuringError as error:
            note(str(error))
            failed = True
    if arguments.json:
        write_json({"machine": fingerprint, "peaks": measured})
    elif measured:
        say(table(measured))
        for sentence in doubts(measured):
            note(sentence)
    return 1 if failed else 0


class MeasuringError(RuntimeError):
    """The measuring process failed; the message is for the user."""


def in_own_process(places: Sequence[tuple[str, int]], tell: Callable[[str], None]) -> Iterator[dict[str, Any] | str]:
    """The peaks of each (device, threads), or why there are none, as they are measured by one process that imports torch. tell: gets what it is at.

    Raises MeasuringError where it ends or falls silent before it is through.
    """
    command = [sys.executable, "-m", MODULE, *(f"{device}/{threads}" for device, threads in places)]
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=words, text=True, env=process_environment())
        silence = _Silence(process)
        try:
            assert process.stdout is not None
            done = 0
            tell(f"{_place(*places[0])}: loading torch ...")
            for line in process.stdout:
                silence.broken()
                said = json.loads(line)
                if "doing" in said:
                    tell(f"{_place(*places[done])}: {said['doing']} ...")
                    continue
                done += 1
                yield said.get("peaks") or str(said.get("error"))
            code = process.wait()
            if done < len(places):
                words.seek(0)
                last = words.read().decode(errors="replace").strip().splitlines()[-1:]
                why = f"it said nothing for {LIMIT_SECONDS:.0f} s" if silence.ended else last[0] if last else f"exit code {code}"
                raise MeasuringError(f"{_place(*places[done])} could not be measured: {why}")
        finally:
            silence.close()


class _Silence:
    """Ends a process that has said nothing for LIMIT_SECONDS."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.ended = False
        self._process = process
        self._timer = threading.Timer(0, lambda: None)
        self.broken()

    def broken(self) -> None:
        """It said something."""
        self._timer.cancel()
        self._timer = threading.Timer(LIMIT_SECONDS, self._end)
        self._timer.daemon = True
        self._timer.start()

    def _end(self) -> None:
        self.ended = True
        self._process.kill()

    def close(self) -> None:
        """No more watching; a process that nobody listens to any more is ended."""
        self._timer.cancel()
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def table(entries: Sequence[Mapping[str, Any]]) -> str:
    """Peaks as aligned columns; a format that was not measured has a dash."""
    formats = list(dict.fromkeys(name for entry in entries for name in entry["flops_per_s"]))
    head = ["device", *(f"{name} GFLOP/s" for name in formats), "GB/s", "in cache GB/s", "start us", "other load %", "measured"]
    body = []
    for entry in entries:
        rates = [_rounded(entry["flops_per_s"].get(name), 1e9) for name in formats]
        moving = [_rounded(entry.get(key), 1e9) for key in ("bytes_per_s", "cache_bytes_per_s")]
        circumstances = [f"{entry['launch_us']:.2f}", f"{entry['load_percent']:.0f}", when(entry["measured"])]
        body.append([_place(entry["device"], entry["threads"]), *rates, *moving, *circumstances])
    return columns(head, body)


def summary(entry: Mapping[str, Any]) -> str:
    """One line: "cpu, 1 thread: float32 201 GFLOP/s, 15.3 GB/s, 0.77 us to start an operator"."""
    rates = ", ".join(f"{name} {_rounded(rate, 1e9)}" for name, rate in entry["flops_per_s"].items())
    moving = _rounded(entry["bytes_per_s"], 1e9)
    return f"{_place(entry['device'], entry['threads'])}: {rates} GFLOP/s, {moving} GB/s, {entry['launch_us']:.2f} us to start an operator"


def doubts(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """What makes these figures worth less: repeats that disagree, other work on the machine, arrays that the cache holds."""
    found = []
    for entry in entries:
        place = _place(entry["device"], entry["threads"])
        shaky = [name for name, spread in entry.get("spread", {}).items() if spread > UNSTABLE]
        if shaky:
            found.append(f"{place}: the repeats of {', '.join(shaky)} disagree by more than {100 * UNSTABLE:.0f}%; measure again on an idle machine.")
        if entry["load_percent"] > 20:
            found.append(f"{place}: other work used {entry['load_percent']:.0f}% of the machine meanwhile; its peaks may be too low.")
        if entry["device"] == "cpu" and entry.get("cache_mib", 0) > 3 * entry.get("array_mib", 0):
            found.append(f"{place}: three arrays of {entry['array_mib']} MiB fit the cache of {entry['cache_mib']:.0f} MiB, so memory may be slower.")
    return found


def _asked(arguments: argparse.Namespace) -> list[tuple[str, int]]:
    default = max(1, probes.usable_cores() - 1)
    threads = [arguments.threads] if arguments.threads else sorted({1, default})
    if any(number < 1 for number in threads):
        raise RequestError(f"--threads {arguments.threads}: at least 1.")
    devices = [arguments.device] if arguments.device else ["cpu", *(f"cuda:{gpu.index}" for gpu in probes.Gpus().found)]
    return [(device, number) for device in devices for number in (threads if device == "cpu" else threads[-1:])]


def _wait(path: Path) -> None:
    note(f"Waits for {who_times() or path}, which is being timed on this machine.")
    time.sleep(LOOK_SECONDS)


def _place(device: str, threads: int) -> str:
    return f"{device}, {threads} thread{'s' if threads != 1 else ''}" if device == "cpu" else device


def _rounded(value: float | None, unit: float) -> str:
    return "-" if value is None else f"{value / unit:,.4g}" if value < 1000 * unit else f"{value / unit:,.0f}"
