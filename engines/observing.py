"""What watching a run costs it, as measured in its worker and in the supervisor: the observer's own price, in seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

HOOK = "observer"
"""The hook of the effect row (of no technique) that holds these facts."""


@dataclass
class Bookkeeping:
    """Seconds of the training thread that were not spent on training, counted by the training loop.

    records: losses read and handed to the writer, on the training clock (on a GPU without the wait for the device, which is training's own);
    watched: whole steps whose memory was told apart, on the clock but in no figure of speed; validation, checkpoints: off the clock.
    before: training seconds of earlier attempts.
    """

    records: float = 0.0
    watched: float = 0.0
    watched_steps: int = 0
    validation: float = 0.0
    checkpoints: float = 0.0
    before: float = 0.0

    def share(self, trained: float) -> float:
        """Recording as a share of this attempt's training time; trained: seconds on the training clock, all attempts."""
        return self.records / max(trained - self.before, 1e-9)

    def facts(self, trained: float, writer: float, supervisor: float | None) -> dict[str, float]:
        """The facts of the effect row. trained: seconds on the training clock, all attempts; writer: processor seconds of the thread that
        stores points; supervisor: processor seconds of the supervisor since the run started, absent where it has not told them yet."""
        found = {
            "training_s": trained - self.before, "training_thread_s": self.records, "share_of_training": self.share(trained),
            "writer_thread_s": writer, "validation_s": self.validation, "checkpoint_s": self.checkpoints,
            "watched_s": self.watched, "watched_steps": self.watched_steps,
        }  # fmt: skip
        return found if supervisor is None else found | {"supervisor_cpu_s": supervisor}


def sentence(facts: Mapping[str, Any]) -> str:
    """The facts of one run in words."""
    others = f"the writer thread used {facts['writer_thread_s']:.3f} s"
    if "supervisor_cpu_s" in facts:
        others += f" and the supervisor {facts['supervisor_cpu_s']:.2f} s"
    watched = ""
    if facts.get("watched_steps"):
        what = "1 step was" if facts["watched_steps"] == 1 else f"{facts['watched_steps']} steps were"
        watched = f" {what} slowed to tell memory apart ({facts['watched_s']:.2f} s), and left out of the speed."
    return (
        f"Recording took {facts['training_thread_s']:.3f} s of {facts['training_s']:.1f} s of training ({_percent(facts['share_of_training'])}); "
        f"{others} of processor time beside it. Validation ({facts['validation_s']:.1f} s) and checkpoints ({facts['checkpoint_s']:.1f} s) "
        f"are not part of the training time.{watched}"
    )


def summary(runs: Sequence[Mapping[str, Any]]) -> str:
    """What observing cost the runs of a comparison, in a sentence; empty where none was measured."""
    if not runs:
        return ""
    shares = sorted(float(facts["share_of_training"]) for facts in runs)
    middle = _percent(shares[len(shares) // 2])
    beside = sum(float(facts["writer_thread_s"]) + float(facts.get("supervisor_cpu_s", 0.0)) for facts in runs)
    trained = sum(float(facts["training_s"]) for facts in runs)
    share = f", {_percent(beside / trained)} of the training time" if trained > 0 else ""
    return (
        f"The observer's own cost, measured in {len(runs)} {'run' if len(runs) == 1 else 'runs'}: recording took {middle} of the training time "
        f"(at most {_percent(shares[-1])}); storing and watching used {beside:.2f} s of processor time beside it{share}."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2g}%" if share < 0.1 else f"{100 * share:.0f}%"
