"""The files that the window opens: the ends of their names, and how dialogs offer them."""

from __future__ import annotations

EXPERIMENTS = (".toml", ".json")
BUNDLE = ".workbench"
TEXTS = (".txt", ".md", ".csv", ".tsv", ".py")
"""What dialogs offer as a text; any other file in UTF-8 may be one too."""


def _filter(name: str, *suffixes: str) -> str:
    return f"{name} ({' '.join(f'*{suffix}' for suffix in suffixes)})"


EXPERIMENT_FILTER = _filter("Experiments", *EXPERIMENTS) + ";;All files (*)"
BUNDLE_FILTER = _filter("Bundles", BUNDLE)
TEXT_FILTER = _filter("Texts", *TEXTS) + ";;All files (*)"
OPEN_FILTER = ";;".join((_filter("Experiments, bundles and texts", *EXPERIMENTS, BUNDLE, *TEXTS), EXPERIMENT_FILTER))
