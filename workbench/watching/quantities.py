"""The quantities that runs record: which are drawn unless somebody chooses, and what their plots are called."""

from __future__ import annotations

from collections.abc import Collection

OWNERS = ("parameters", "gradients", "optimizer", "activations", "workspace", "other")
STACK = "memory/owner"
"""Stands for the series memory/owner/*, which are drawn as one stack."""
DEFAULT_KEYS = (
    "train/loss", "quality/valid_perplexity", "quality/valid_reciprocal_rank", "quality/valid_context_perplexity",
    "quality/valid_context_reciprocal_rank", "quality/valid_accuracy", "quality/valid_nll", "speed/train_tokens_per_s", "memory/host_mib",
    "memory/device_mib",
)  # fmt: skip
OFFERED = (*DEFAULT_KEYS, STACK, "load/cpu_percent", "load/machine_percent", "load/gpu_percent", "power/gpu_w", "power/processor_w")
"""What the menu begins with; everything else that is recorded follows."""
ONLY_WHERE_RECORDED = ("memory/device", "quality/valid_reciprocal_rank", "quality/valid_context", "quality/valid_accuracy", "quality/valid_nll")
"""How those of them begin that have no empty plot before their first point."""
TITLES = {
    "train/loss": "Training loss",
    "quality/valid_perplexity": "Validation perplexity",
    "quality/valid_reciprocal_rank": "Validation reciprocal rank",
    "quality/valid_accuracy": "Validation accuracy",
    "quality/valid_macro_f1": "Validation macro F1",
    "quality/valid_nll": "Validation nats per text",
    "quality/valid_context_perplexity": "Validation perplexity of words near each other",
    "quality/valid_context_reciprocal_rank": "Validation reciprocal rank of words near each other",
    "speed/train_tokens_per_s": "Training throughput",
    "memory/host_mib": "Host memory",
    "memory/device_mib": "GPU memory",
    "memory/device_allocated_mib": "GPU memory, allocated",
    "memory/device_reserved_mib": "GPU memory, reserved by the allocator",
    STACK: "Memory by owner at the peak of a step",
    "train/gradient_norm": "Gradient norm",
    "load/cpu_percent": "CPU of the run",
    "load/machine_percent": "CPU of the machine",
    "load/gpu_percent": "GPU utilisation",
    "power/gpu_w": "GPU power",
    "power/processor_w": "Processor power",
    "progress/tokens": "Tokens seen",
}
FROM_ZERO = ("memory/", "speed/", "load/", "progress/", "power/")


def default_keys(recorded: Collection[str]) -> list[str]:
    """The quantities that are drawn unless somebody chooses: those that are recorded, and empty plots for what every run will record."""
    judged = any(key.startswith("quality/valid_") for key in recorded)
    return [
        key for key in DEFAULT_KEYS
        if key in recorded or not (key.startswith(ONLY_WHERE_RECORDED) or (judged and key == "quality/valid_perplexity"))
    ]  # fmt: skip


def panes(recorded: Collection[str]) -> list[str]:
    """What can be drawn of what is recorded: the owners of memory are one pane."""
    owned = f"{STACK}/"
    return [*(key for key in recorded if not key.startswith(owned)), *([STACK] if any(key.startswith(owned) for key in recorded) else [])]


def series_of(pane: str) -> list[str]:
    """The series that a pane shows."""
    return [f"{STACK}/{owner}_mib" for owner in OWNERS] if pane == STACK else [pane]


def title_of(key: str) -> str:
    """The heading of a plot: "Training loss" for `train/loss`."""
    return TITLES.get(key) or key.replace("_", " ")
