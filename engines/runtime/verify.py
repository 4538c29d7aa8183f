"""Certificates: the exact statements that a plugin makes about itself, measured."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch

from engines import catalogue
from engines.api import Trial
from engines.problems import did_you_mean


def verify(id: str, trial: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """[{statement, error, tolerance, holds}] of every certificate of a plugin on a trial (keys of api.Trial; what is missing is its default).

    A certificate that raises has error None and a "reason". Raises ValueError for a trial that cannot be, UnknownPlugin, BrokenPlugin.
    """
    made = _trial(trial or {})
    module = sys.modules[catalogue.load(id).__module__]
    found = [function for function in vars(module).values() if inspect.isfunction(function) and hasattr(function, "certificate")]
    return [_measure(function, made) for function in found]


def _measure(function: Any, trial: Trial) -> dict[str, Any]:
    statement, tolerance = function.certificate
    try:
        error = float(function(trial))
    except Exception as failure:  # noqa: BLE001  the certificate is somebody's code on somebody's shapes: whatever it raises is its result
        reason = f"{type(failure).__name__}: {failure}"
        return {"statement": statement, "error": None, "tolerance": tolerance, "holds": False, "reason": reason}
    if error != error:
        return {"statement": statement, "error": None, "tolerance": tolerance, "holds": False, "reason": "the error is not a number"}
    return {"statement": statement, "error": error, "tolerance": tolerance, "holds": error <= tolerance}


def _trial(values: Mapping[str, Any]) -> Trial:
    known = {field.name for field in fields(Trial)}
    for key in values:
        if key not in known:
            raise ValueError(f"A trial has no {key!r}; {did_you_mean(key, known)}")
    trial = Trial(**values)
    for name in ("batch", "length", "width", "vocabulary"):
        if not isinstance(getattr(trial, name), int) or getattr(trial, name) < 1:
            raise ValueError(f"{name} of the trial is {getattr(trial, name)!r}: it must be a whole number of at least 1.")
    if not isinstance(getattr(torch, trial.dtype, None), torch.dtype):
        raise ValueError(f"dtype of the trial is {trial.dtype!r}: use float64, float32, float16 or bfloat16.")
    return trial
