"""Packages that only some features need. Nothing is imported here."""

from __future__ import annotations

import importlib.util

ONNX = ("onnx", "onnxruntime", "onnxscript")
"""What exporting to ONNX and timing with onnxruntime need; the extra `onnx` of the project."""
PRETRAINED = ("transformers", "accelerate", "gguf")
"""What reads the pretrained language model; the extra `pretrained` of the project."""
ENCODER = ("transformers",)
"""What the pretrained sentence encoder is made of; in the extra `pretrained`."""
BASELINES = ("sklearn",)
"""What fits the linear classifier; the extra `baselines` of the project."""

_DISTRIBUTIONS = {"faiss": "faiss-cpu", "sklearn": "scikit-learn"}
"""Names to install by, where they are not those to import by."""


def missing(packages: tuple[str, ...]) -> list[str]:
    """Those that are not installed."""
    return [name for name in packages if importlib.util.find_spec(name) is None]


def advice(packages: list[str]) -> str:
    """How to get missing packages."""
    return f"pip install {' '.join(_DISTRIBUTIONS.get(name, name) for name in packages)}"
