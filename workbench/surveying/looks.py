"""Looking at the machine, off the window's thread: what it is, and what it is doing now. No Qt, no torch."""

from __future__ import annotations

from typing import Any

VERSIONS = ("torch", "numpy", "torchao", "onnxruntime", "tokenizers", "safetensors", "SQLAlchemy", "PySide6-Essentials", "pyqtgraph")


class Lookout:
    """One for a view. The driver of the GPUs is opened at the first look; each method is called in a thread."""

    def __init__(self) -> None:
        self._gpus: Any = None
        self._counters: list[dict[str, str]] | None = None
        self._observer: Any = None
        self._events: int | None = None

    def _drivers(self) -> Any:
        from engines import probes

        if self._gpus is None:
            self._gpus = probes.Gpus()
        return self._gpus

    def facts(self) -> dict[str, Any]:
        """What does not change while the window is open: `probes.machine_facts`, its fingerprint, versions, threads of a run by default."""
        from engines import probes

        facts = probes.machine_facts(self._drivers())
        return {
            **facts,
            "fingerprint": probes.fingerprint(facts),
            "threads": max(1, probes.usable_cores() - 1),
            "versions": {name: version for name in VERSIONS if (version := probes.version_of(name))},
        }

    def energy(self) -> list[dict[str, str]]:
        """Which devices have a counter of energy, and why others have none, as findings. Asked once: trying a counter takes half a second."""
        from engines import energy

        if self._counters is None:
            found = energy.survey(self._drivers())
            self._counters = [{"name": name, "state": "ok" if counted else "note", "text": text} for name, counted, text in found]
        return self._counters

    def peaks(self) -> tuple[list[dict[str, Any]], list[str]]:
        """What this machine was measured to reach at best, and what makes that worth less."""
        from engines import peaks
        from engines.console import measuring

        entries = peaks.every(self.facts()["fingerprint"])
        return entries, measuring.doubts(entries)

    def now(self) -> dict[str, Any]:
        """Load (percent since the last look, average), clock, throttling, free memory, GPUs, whether a timing session is at work.

        slowed: whether the processor was throttled since the last look. What cannot be read is absent.
        """
        from engines import machinestate, probes, timinglock

        if self._observer is None:
            self._observer = machinestate.Observer()
        state: dict[str, Any] = {**probes.load_facts(), **self._observer.processor(), "timing": timinglock.is_timing()}
        state["timed"] = timinglock.who_times()
        events = state.get("throttle_count", 0) + state.get("quota_count", 0)
        state["slowed"] = self._events is not None and events > self._events
        self._events = events
        gpus = self._drivers()
        state["gpus"] = [gpus.figures(gpu.index) for gpu in gpus.found]
        return state


def hardware(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """The facts as lines: (name, text)."""
    physical = facts.get("cores_physical")
    cores = f"{facts['cores']} usable" + (f", {physical} physical" if physical else "")
    threads = facts["threads"]
    return [
        ("Processor", facts["cpu"]),
        ("Cores", cores),
        ("Threads of a run", f"{threads} by default (the cores minus one, at least one)"),
        ("Memory", f"{facts['memory_mib']:,} MiB"),
        ("System", f"{facts['system']}, {facts['architecture']}"),
        ("Python", facts["python"]),
        ("Fingerprint", facts["fingerprint"]),
    ]


def verdict(state: dict[str, Any], cores: int) -> tuple[str, str]:
    """Whether the machine is quiet enough to measure on: (kind of notice, sentence)."""
    load, percent = state["load_1"], state["machine_percent"]
    if state["timing"]:
        timed = f" ({state['timed']})" if state.get("timed") else ""
        return "info", f"A timing session holds the machine{timed}: runs, profiles and studies wait until it is over."
    if state.get("slowed"):
        return "warning", "The processor is being slowed down, by heat or by the limit of its container. Speeds measured now are not to be trusted."
    if load > 0.5 * cores or percent > 50:
        return "warning", f"Busy: {percent:.0f}% in use, load average {load:.1f} on {cores} cores. Speeds measured now are not to be trusted."
    return "ok", f"Quiet: {percent:.0f}% in use, load average {load:.1f} on {cores} core{'s' if cores != 1 else ''}. A good moment to measure."


def throttling(state: dict[str, Any]) -> str:
    """How often the processor was slowed down, by heat and by the limit of a container."""
    causes = (("throttle_count", "by heat"), ("quota_count", "by the limit of its container"))
    words = [f"{cause} {state[key]:,}" if state[key] else f"{cause} none" for key, cause in causes if key in state]
    if not words:
        return "Whether the processor is slowed down cannot be read here."
    return f"Slow-downs of the processor since it started: {', '.join(words)}."


def gpu_words(figures: dict[str, float]) -> str:
    """What a GPU does now, in one line; empty where its driver says nothing."""
    words = []
    for key, form in (("busy_percent", "{:.0f}% busy"), ("used_mib", "{:,.0f} MiB in use"), ("power_w", "{:.0f} W"), ("temperature_c", "{:.0f} °C")):
        if key in figures:
            words.append(form.format(figures[key]))
    if "clock_mhz" in figures:
        words.append(f"{figures['clock_mhz']:,.0f} MHz" + (", slowed down by heat or power" if figures.get("throttled") else ""))
    return ", ".join(words)


def others(facts: dict[str, Any], machines: list[Any]) -> list[str]:
    """One sentence for each machine that the store holds, and how it differs from this one. machines: rows with fingerprint and facts."""
    sentences = []
    for row in machines:
        there = row.facts
        name = f"{there.get('host', 'unknown')}, {there.get('cpu', 'unknown processor')}"
        if row.fingerprint == facts["fingerprint"]:
            sentences.append(f"{name}: this machine as it is now.")
            continue
        differing = [f"{key} {there.get(key)}" for key in ("cores", "memory_mib", "system", "python") if there.get(key) != facts.get(key)]
        versions = there.get("versions", {})
        differing += [f"{package} {version}" for package, version in versions.items() if facts["versions"].get(package) != version]
        graphics = [gpu["name"] for gpu in there.get("gpus", [])]
        if graphics != [gpu["name"] for gpu in facts["gpus"]]:
            differing.append("with " + ", ".join(graphics) if graphics else "without a GPU")
        sentences.append(f"{name}: differs in {', '.join(differing)}." if differing else f"{name}: another state of a machine like this one.")
    return sentences or ["The store holds no figures of any machine yet."]
