"""Packages that only some features need. Nothing is imported here."""

from __future__ import annotations

import importlib.util

ONNX = ("onnx", "onnxruntime", "onnxscript")
"""What exporting to ONNX and timing with onnxruntime need; the extra `onnx` of the project."""


def missing(packages: tuple[str, ...]) -> list[str]:
    """Those that are not installed."""
    return [name for name in packages if importlib.util.find_spec(name) is None]


def advice(packages: list[str]) -> str:
    """How to get missing packages."""
    return f"pip install {' '.join(packages)}"
