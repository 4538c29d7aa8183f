"""Finished models that a recipe reads: found by their references (`engines.teachers`), checked against the text that they are to teach on, loaded.

What was read is recorded with the SHA-256 of its weights, so that who runs it again knows whether it was the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from weakref import WeakValueDictionary

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from engines import preparing
from engines.api import Corpus, CorpusError, Text
from engines.runtime.finished import Finished, FinishedError, load_finished
from engines.runtime.plan import PlanError, corpus_folder, plugin, text_of
from engines.runtime.portable import load_exported
from engines.teachers import COSTS, is_path, model_folder, run_of, unfit
from engines.toolbox import vocabularies

Known = Mapping[str, Path | nn.Module]
"""Variant -> its model, or the folder of its finished one."""


class TeacherError(ValueError):
    """A model that cannot teach here; the message says which, why, and what to do."""


class Teachers:
    """The models that one recipe reads. One that several techniques hold at once is loaded once.

    variants: as far as they are known. runs: the folder of the runs of the store, for `run:12`. read: what was read, reference -> facts.
    """

    def __init__(self, plan: Mapping[str, Any], text: Text, device: torch.device, variants: Known, runs: Path | None) -> None:
        self._plan, self._text, self._device, self._variants, self._runs = plan, text, device, variants, runs
        self._held: WeakValueDictionary[str, nn.Module] = WeakValueDictionary()
        self.read: dict[str, dict[str, Any]] = {}

    def __call__(self, reference: str) -> nn.Module:
        """The model, frozen, in evaluation mode, on the device of the run. Raises TeacherError, PlanError, FinishedError with a sentence."""
        model = self._held.get(reference)
        if model is None:
            model = self._held[reference] = self._loaded(reference)
        return model

    def _loaded(self, reference: str) -> nn.Module:
        if reference in self._variants:
            found = self._variants[reference]
            if isinstance(found, nn.Module):
                return found
            model = load_finished(found, self._device, self._text).model
            self._note(reference, "variant", found / "weights.safetensors", {"run": _number(found)})
            return model
        if (run := run_of(reference)) is not None and self._runs is not None:
            folder = model_folder(self._runs, run)
            model = self._checked(reference, _of_folder(folder, self._device, self._text))
            self._note(reference, "run", folder / "weights.safetensors", {"run": run})
            return model
        if is_path(reference):
            path = Path(reference)
            if path.is_dir():
                model = self._checked(reference, _of_folder(path, self._device, self._text))
                self._note(reference, "folder", path / "weights.safetensors", {"price": None})
            else:
                model = self._checked(reference, load_exported(path, self._device, own_folder(path, self._plan)))
                self._note(reference, "file", path, {"price": price_in(path)})
            return model
        raise PlanError(f'The recipe needs the finished model of the variant "{reference}", and there is none: run the experiment anew.')

    def _checked(self, reference: str, found: Finished) -> nn.Module:
        # A stand-in for a text that was never read has no words of its own.
        own = described(self._text) if self._text.fingerprint else {"level": self._text.level}
        if sentence := unfit(reference, found.plan, described(found.text), self._plan, own):
            raise TeacherError(sentence)
        return found.model

    def _note(self, reference: str, what: str, weights: Path, facts: Mapping[str, Any]) -> None:
        self.read[reference] = {"reference": reference, "what": what, "sha256": _sha256(weights), **facts}


def described(text: Text) -> dict[str, Any]:
    """What of a text has to be the same for a teacher."""
    return {"level": text.level, "size": text.vocabulary.size, "tokens": text.vocabulary.tokens, "classes": text.classes}


# --- Before anything starts -----------------------------------------------------------------------------------------------------------------


def problem_of(reference: str, own_plan: Mapping[str, Any], runs: Path | None) -> str:
    """What is wrong with a model from outside the experiment, as far as that is known without reading weights or text anew; empty where nothing."""
    run = run_of(reference)
    if run is not None and runs is None:
        return ""  # only who knows the store can tell
    folder = model_folder(runs, run) if run is not None and runs is not None else Path(reference)
    if run is not None and not (folder / "plan.json").exists():
        return f"There is no finished model of run {run} in this store: name a run that ended as done (`workbench list`, `workbench show`)."
    if run is None and not folder.exists():
        return f"There is no file or folder {reference}: name an exported safetensors file, run:12, or a variant."
    try:
        plan, theirs = _peek_folder(folder) if folder.is_dir() else _peek_file(folder)
    except FinishedError as error:
        return str(error)
    return unfit(reference, plan, theirs, own_plan, _known_of(cast(Corpus, plugin(own_plan["corpus"]))))


def _peek_folder(folder: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    try:
        plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FinishedError(f"There is no finished model in {folder}: {error}.") from error
    return plan, _known_of(cast(Corpus, plugin(plan["corpus"])))


def _peek_file(path: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    told = _metadata(path)
    if missing := [name for name in ("plan", "text") if name not in told]:
        raise FinishedError(f"{path} holds tensors but no {missing[0]} to rebuild a model from: was it written by `workbench export`?")
    return told["plan"], described(vocabularies.without_splits(told["text"]))


def _known_of(corpus: Corpus) -> dict[str, Any]:
    """What is known of a corpus: all of it where it is prepared, else its level; sizes that it names may be the most it takes."""
    try:
        if corpus.is_prepared(corpus_folder()):
            return described(text_of(corpus, lambda _: None))
    except CorpusError:
        pass  # a file of it is gone: told where its corpus is checked, or by the run that has to prepare it
    return {"level": level} if (level := getattr(corpus, "level", None)) else {}


# --- Reading --------------------------------------------------------------------------------------------------------------------------------


def _of_folder(folder: Path, device: torch.device, text: Text) -> Finished:
    """A finished model with the text that it was trained on: ours where it is the same one, else its own, prepared where it is not yet."""
    try:
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FinishedError(f"There is no finished model in {folder}: {error}. Did its run end as 'done'?") from error
    if facts["text"] == text.fingerprint:
        return load_finished(folder, device, text)
    corpus = cast(Corpus, plugin(plan["corpus"]))
    if not corpus.is_prepared(corpus_folder()):
        preparing.in_own_process(plan["corpus"], corpus_folder(), lambda _: None)
    return load_finished(folder, device, text_of(corpus, lambda _: None))


def own_folder(path: Path, plan: Mapping[str, Any]) -> str | None:
    """Where the module of a file's own model is looked for: where it was, or beside this experiment, where that folder is not there any more."""
    was = _metadata(path).get("plan", {}).get("model", {}).get("folder")
    return None if was is None else str(was if Path(was).is_dir() else plan["folder"])


def price_in(path: Path) -> dict[str, float] | None:
    """What the model of an exported file cost to make, teachers included; None where the file does not say so."""
    price = _metadata(path).get("price") or {}
    return {key: float(price[key]) for key in COSTS if key in price} or None


def _metadata(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: json.loads(value) for name, value in (file.metadata() or {}).items()}
    except (OSError, ValueError, SafetensorError) as error:
        raise FinishedError(f"{path} is no safetensors file that can be read: {error}.") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _number(folder: Path) -> int | None:
    """The run whose model lies in a folder."""
    return int(folder.parent.name) if folder.parent.name.isdigit() else None

