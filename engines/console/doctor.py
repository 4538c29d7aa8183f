"""`workbench doctor`: what of the workbench works on this machine, and what does not."""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from engines import catalogue as catalogues
from engines import energy, extras, launching, peaks, probes
from engines.console import measuring
from engines.console.output import RequestError, columns, note, say, when, write_json
from engines.store.address import store_url
from engines.store.database import Store, StoreError

SUPPORTED = ((3, 11), (3, 14))
LITTLE_DISK_MIB = 1024


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. state: ok, note (works, with less), broken (something will not run)."""

    name: str
    state: str
    text: str


def doctor(arguments: argparse.Namespace) -> int:
    """Exit code 0 where nothing is broken, else 1. With --measure the machine's peaks are measured instead."""
    if arguments.measure:
        return measuring.measure(arguments)
    for option in ("device", "threads"):
        if getattr(arguments, option):
            raise RequestError(f"--{option} goes with --measure, which measures the peaks of this machine.")
    url = store_url(arguments.store)
    looks: list[Callable[[], list[Finding]]] = [
        _python, _packages, _machine, _peaks, _gpus, _energy, _memory, lambda: _store(url), lambda: _supervisor(url), _catalogue, _window,
    ]  # fmt: skip
    findings = [finding for look in looks for finding in look()]
    broken = [finding for finding in findings if finding.state == "broken"]
    if arguments.json:
        write_json({"ok": not broken, "findings": [asdict(finding) for finding in findings]})
    else:
        say(columns(["", "what", "found"], [[finding.state, finding.name, finding.text] for finding in findings]))
        note("Everything that is needed works." if not broken else f"{len(broken)} things are broken.")
    return 1 if broken else 0


def _python() -> list[Finding]:
    low, high = SUPPORTED
    sound = low <= sys.version_info[:2] < high
    text = f"{platform.python_version()} at {sys.executable}"
    return [Finding("python", "ok" if sound else "broken", text if sound else f"{text}; supported are {low[0]}.{low[1]} to {high[0]}.{high[1] - 1}")]


def _packages() -> list[Finding]:
    found = []
    for name in ("torch", "numpy", "pydantic", "SQLAlchemy", "tokenizers", "safetensors", "PySide6-Essentials", "pyqtgraph"):
        version = probes.version_of(name)
        found.append(Finding(name, "ok" if version else "broken", version or "not installed"))
    pandas = probes.version_of("pandas")
    found.append(
        Finding("pandas", "ok" if pandas else "note", pandas or "not installed; engines.notebook needs it for data frames (extra: notebook)")
    )
    absent = extras.missing(extras.ONNX)
    runtime = f'not installed: {", ".join(absent)}; targets with runtime = "onnxruntime" and --format onnx need them ({extras.advice(absent)})'
    found.append(Finding("onnxruntime", "note", runtime) if absent else Finding("onnxruntime", "ok", probes.version_of("onnxruntime")))
    return found


def _machine() -> list[Finding]:
    facts = probes.machine_facts()
    text = f"{facts['cpu']}, {facts['cores']} usable cores, {facts['memory_mib']:,} MiB, {facts['system']}"
    found = [Finding("machine", "ok", f"{text} (fingerprint {probes.fingerprint(facts)})")]
    load = probes.load_facts()["load_1"]
    if load > facts["cores"] * 0.5:
        found.append(Finding("load", "note", f"load average {load:.1f} on {facts['cores']} cores: speeds measured now are not to be trusted"))
    return found


def _peaks() -> list[Finding]:
    entries = peaks.every(probes.fingerprint(probes.machine_facts()))
    if not entries:
        text = f"never measured here, so no step times are predicted and no roofline is drawn; {peaks.HOW} does it in seconds"
        return [Finding("peaks", "note", text)]
    return [
        Finding("peaks", "ok", f"{measuring.summary(entry)}, measured {when(entry['measured'])}")
        for entry in sorted(entries, key=lambda entry: (entry["device"], entry["threads"]))
    ]


def _gpus() -> list[Finding]:
    gpus = probes.Gpus().found
    if not gpus:
        return [Finding("gpu", "note", "no NVIDIA driver answers; runs use the CPU")]
    return [Finding(f"gpu {g.index}", "ok", f"{g.name}, {g.total_mib:,.0f} MiB, capability {g.capability}, driver {g.driver}") for g in gpus]


def _energy() -> list[Finding]:
    return [Finding(f"energy of {name}", "ok" if counted else "note", text) for name, counted, text in energy.survey()]


def _memory() -> list[Finding]:
    if probes.reset_peak():
        return [Finding("memory peaks", "ok", "the high-water mark can be reset, so peaks are measured per phase")]
    return [Finding("memory peaks", "note", "the high-water mark cannot be reset here; peaks per phase are left out")]


def _store(url: str) -> list[Finding]:
    try:
        store = Store.open(url)
    except StoreError as error:
        return [Finding("store", "broken", str(error))]
    try:
        folder = Path(store.folder)
    finally:
        store.close()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free / probes.MIB
    writable = os.access(there, os.W_OK)
    found = [Finding("store", "ok" if writable else "broken", url if writable else f"{url}: its folder {folder} is not writable")]
    if free < LITTLE_DISK_MIB:
        found.append(Finding("disk", "note", f"only {free:,.0f} MiB free at {there}"))
    return found


def _supervisor(url: str) -> list[Finding]:
    holder = launching.holder(url)
    if holder is None:
        return [Finding("supervisor", "ok", "none runs; one starts with the next run")]
    return [Finding("supervisor", "ok", f"process {holder.pid} serves this store, log {launching.log_path(url)}")]


def _catalogue() -> list[Finding]:
    try:
        plugins = catalogues.read()["plugins"]
    except catalogues.CatalogueError as error:
        return [Finding("catalogue", "broken", str(error))]
    found = [Finding("catalogue", "ok", f"{len(plugins)} plugins")]
    for id, entry in sorted(plugins.items()):
        if entry.get("error"):
            found.append(Finding(id, "broken", entry["error"].strip().splitlines()[-1]))
        elif not entry["available"]["ok"]:
            found.append(Finding(id, "note", entry["available"]["reason"]))
    return found


def _window() -> list[Finding]:
    if importlib.util.find_spec("PySide6") is None:
        return [Finding("window", "note", "PySide6 is not installed; the command line works without it")]
    shown = sys.platform in ("win32", "darwin") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return [Finding("window", "ok" if shown else "note", "a display is there" if shown else "no display; everything works from the command line")]
