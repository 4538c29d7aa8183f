"""Prepared corpora on disk: ids and character counts as memory maps in a folder named by their fingerprint.

    <cache>/listings/<digest of the file listing>     the fingerprint those files had when they were last read
    <cache>/<fingerprint>/                            {train,valid,test}.npy, {train,valid,test}.ends.npy, counts.npy, lexicon.json, facts.json

A folder appears whole or not at all (it is written beside and renamed), so several processes may prepare the same corpus at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engines.api import CorpusError, Text, Vocabulary
from engines.toolbox import minilm, pretrained
from engines.toolbox.tokens import Coder, Encoded, Lexicon, encode_bpe, encode_pieces, encode_pretrained, lexicon_from_json, lexicon_to_json, lower

FORMAT = 1
"""Raised whenever the same text and settings give other ids than before."""

SPLITS = ("train", "valid", "test")
MOST_PAIRS = 10_000
"""Token types of byte pairs, unless told otherwise."""


def prepared(
    cache: Path,
    files: Sequence[Path],
    settings: Mapping[str, Any],
    read: Callable[[], dict[str, str]],
    announce: Callable[[str], None],
    *,
    licence: str,
    facts: Callable[[], Mapping[str, Any]],
) -> Text:
    """The corpus made of `files` under `settings`, from the cache where those files were prepared before.

    settings: level (a key of tokens.PATTERNS, "bpe", "pretrained" or "encoder"), max_vocabulary, min_count, lowercase, unknown, end_of_line, and
    whatever else decides about the text. read: the original text of each split ("train", "valid", "test"). facts: more about it, to be recorded.
    Raises CorpusError.
    """
    note = _note(cache, files, settings)
    folder = _noted(cache, note)
    if folder is None:
        texts = read()
        contents = {split: hashlib.sha256(texts[split].encode("utf-8", "surrogatepass")).hexdigest() for split in SPLITS}
        fingerprint = _digest(contents, settings, FORMAT)
        folder = cache / fingerprint
        try:
            if not (folder / "facts.json").is_file():
                announce(f"Tokenising {sum(map(len, texts.values())):,} characters ({settings['level']})")
                _build(folder, texts, settings, {**facts(), "licence": licence})
            _write_note(note, fingerprint)
        except OSError as error:
            raise CorpusError(
                f"The token ids could not be written to {cache}: {error.strerror}. Free some space there or set WORKBENCH_CACHE to another folder."
            ) from error
    return _open(folder)


def check_level(level: str) -> None:
    """Raise CorpusError where this machine cannot cut text so."""
    if level == "pretrained" and (reason := pretrained.unavailable()):
        raise CorpusError(reason)
    if level == minilm.LEVEL and (reason := minilm.unavailable(model=False)):
        raise CorpusError(reason)


def known_types(cache: Path, files: Sequence[Path], settings: Mapping[str, Any]) -> int | None:
    """Token types of a corpus that was prepared before; None where it was not."""
    folder = _noted(cache, _note(cache, files, settings))
    return None if folder is None else int(json.loads((folder / "facts.json").read_text("utf-8"))["types"])


def _note(cache: Path, files: Sequence[Path], settings: Mapping[str, Any]) -> Path:
    """The file that says, for these files as they are now, under which fingerprint they were prepared."""
    listing = [(str(path), stat.st_size, stat.st_mtime_ns) for path in files for stat in (path.stat(),)]
    return cache / "listings" / _digest(listing, settings, FORMAT)


def _noted(cache: Path, note: Path) -> Path | None:
    try:
        folder = cache / note.read_text("ascii")
    except OSError:
        # Not prepared yet, or not readable: preparing says what is wrong with the folder.
        return None
    return folder if (folder / "facts.json").is_file() else None


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=dict).encode()).hexdigest()


def _encode(texts: dict[str, str], settings: Mapping[str, Any]) -> tuple[Lexicon, dict[str, Encoded]]:
    if settings["lowercase"]:
        texts = {split: lower(text) for split, text in texts.items()}
    if settings["level"] == "pretrained":
        try:
            return encode_pretrained(texts, pretrained.tokenizer_json())
        except pretrained.PretrainedMissing as error:
            raise CorpusError(str(error)) from error
    if settings["level"] == minilm.LEVEL:
        try:
            return encode_pretrained(texts, minilm.tokenizer_json(), minilm.UNKNOWN)
        except minilm.EncoderMissing as error:
            raise CorpusError(str(error)) from error
    if settings["level"] == "bpe":
        return encode_bpe(
            texts,
            max_vocabulary=settings["max_vocabulary"] or MOST_PAIRS,
            min_count=settings["min_count"],
            end_of_line=settings["end_of_line"],
        )
    return encode_pieces(
        texts,
        settings["level"],
        max_vocabulary=settings["max_vocabulary"],
        min_count=settings["min_count"],
        unknown=settings["unknown"],
    )


def _build(folder: Path, texts: dict[str, str], settings: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    lexicon, splits = _encode(texts, settings)
    for split, encoded in splits.items():
        if len(encoded.ids) < 2:
            raise CorpusError(
                f"The {split} split has {len(encoded.ids)} token(s) at {_level(settings['level'])} level; at least 2 are needed to predict one from "
                "the other: use a longer text."
            )
    if np.count_nonzero(lexicon.counts) < 2:
        raise CorpusError(
            f"The training split has a single token type, {lexicon.tokens[0]!r}, so there is nothing to learn: use a longer text, a larger "
            "max_vocabulary or a smaller min_count."
        )
    known = {
        **facts,
        "level": settings["level"],
        "lowercase": settings["lowercase"],
        "types": len(lexicon.tokens),
        "tokens": {split: len(encoded.ids) for split, encoded in splits.items()},
        "characters": {split: len(texts[split]) for split in splits},
    }
    if lexicon.unknown is not None:
        known["unknown_share"] = {split: float(np.mean(encoded.ids == lexicon.unknown)) for split, encoded in splits.items()}
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix="writing-", dir=folder.parent))
    try:
        for split, encoded in splits.items():
            np.save(beside / f"{split}.npy", encoded.ids)
            np.save(beside / f"{split}.ends.npy", encoded.ends)
        np.save(beside / "counts.npy", lexicon.counts)
        (beside / "lexicon.json").write_text(lexicon_to_json(lexicon), "utf-8")
        (beside / "facts.json").write_text(json.dumps(known, indent=1), "utf-8")
        try:
            beside.rename(folder)
        except OSError:
            # Another process was faster with the same content; anything else is a real failure.
            if not (folder / "facts.json").is_file():
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _level(pattern: str) -> str:
    """word, char, bpe, pretrained or encoder: what the user calls a way of cutting."""
    return "word" if pattern == "code" else pattern.split()[0]


def _write_note(note: Path, fingerprint: str) -> None:
    note.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=note.parent)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(fingerprint)
    os.replace(beside, note)


def _open(folder: Path) -> Text:
    facts = json.loads((folder / "facts.json").read_text("utf-8"))
    lexicon = lexicon_from_json((folder / "lexicon.json").read_text("utf-8"), np.load(folder / "counts.npy"))
    level = facts["level"]
    coder = Coder(lexicon, level, facts["lowercase"])
    public = _level(level)
    return Text(
        splits={split: np.load(folder / f"{split}.npy", mmap_mode="r") for split in SPLITS},
        character_ends={split: np.load(folder / f"{split}.ends.npy", mmap_mode="r") for split in SPLITS},
        vocabulary=Vocabulary(lexicon.tokens, lexicon.counts, lexicon.unknown),
        fingerprint=folder.name,
        licence=facts["licence"],
        level=public,
        facts=facts,
        encode=coder.encode,
        decode=coder.decode,
    )
