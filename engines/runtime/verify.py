"""Certificates: the exact statements that a plugin makes about itself, measured."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import torch

from engines import catalogue
from engines.api import Trial
from engines.problems import did_you_mean
from engines.runtime.plan import device_of

ROUNDINGS = 8
"""Roundings of a number format coarser than float32 that a result may be off by. Tolerances are stated for float32 and finer; sums over the
few dozen terms of a trial were seen to be off by up to 3 roundings of bfloat16 and float16."""


def verify(id: str, trial: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """[{statement, error, tolerance, holds}] of every certificate of a plugin on a trial (keys of api.Trial; what is missing is its default).

    The tolerance is the stated one, or what a number format coarser than float32 allows. A certificate that raises has error None and a
    "reason". Raises ValueError for a trial that cannot be, UnknownPlugin, BrokenPlugin.
    """
    made = trial_of(trial or {})
    module = sys.modules[catalogue.load(id).__module__]
    found = [function for function in vars(module).values() if inspect.isfunction(function) and hasattr(function, "certificate")]
    return [_measure(function, made) for function in found]


def _measure(function: Any, trial: Trial) -> dict[str, Any]:
    statement, stated = function.certificate
    tolerance = allowed(stated, trial.dtype)
    try:
        error = float(function(trial))
    except Exception as failure:  # noqa: BLE001  the certificate is somebody's code on somebody's shapes: whatever it raises is its result
        reason = f"{type(failure).__name__}: {failure}"
        return {"statement": statement, "error": None, "tolerance": tolerance, "holds": False, "reason": reason}
    if error != error:
        return {"statement": statement, "error": None, "tolerance": tolerance, "holds": False, "reason": "the error is not a number"}
    return {"statement": statement, "error": error, "tolerance": tolerance, "holds": error <= tolerance}


def allowed(tolerance: float, dtype: str) -> float:
    """The largest error with which a statement holds in a number format.

    Statements of bit-equality, and tolerances finer than float32 itself, do not speak of rounding in the trial's format: they stay.
    """
    single, own = torch.finfo(torch.float32).eps, torch.finfo(getattr(torch, dtype)).eps
    return max(tolerance, ROUNDINGS * own) if own > single and tolerance > single else tolerance


def trial_of(values: Mapping[str, Any]) -> Trial:
    """The trial with these values. Raises ValueError for what cannot be: unknown keys, shapes, number formats, devices that are not here."""
    known = {field.name for field in fields(Trial)}
    for key in values:
        if key not in known:
            raise ValueError(f"A trial has no {key!r}; {did_you_mean(key, known)}")
    trial = Trial(**values)
    for name in ("batch", "length", "width", "vocabulary"):
        if not isinstance(getattr(trial, name), int) or getattr(trial, name) < 1:
            raise ValueError(f"{name} of the trial is {getattr(trial, name)!r}: it must be a whole number of at least 1.")
    dtype = getattr(torch, trial.dtype, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f"dtype of the trial is {trial.dtype!r}: use float64, float32, float16 or bfloat16.")
    try:
        device = device_of(trial.device)
    except RuntimeError as error:
        # What torch raises for a name that is no device at all.
        raise ValueError(f"device of the trial is {trial.device!r}: use cpu, cuda, cuda:0 ...") from error
    return replace(trial, device=str(device))
