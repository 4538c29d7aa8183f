"""The pretrained sentence encoder with int8 matrices against its float self: speed, interleaved, and bytes of the weights of its layers.

    python -m tests.benchmarks encoder [batch=8] [length=128] [rounds=N]

One thread, evaluation mode, full rows of random tokens (two more are the encoder's own); the median of the paired ratios of the rounds with its
interval. `torch` is torch.ao.quantization.quantize_dynamic, one scale a matrix, on the same weights. Quality (STS-B) is an experiment's:
resources/experiments/sentence_encoder.toml. Needs the package that brings the encoder; without it nothing is measured.
"""

from __future__ import annotations

import copy
import json
import sys
import warnings

import torch
from torch import nn

from engines.statistics import median_interval, median_ratio
from engines.toolbox import minilm
from engines.toolbox.int8 import Int8Module
from engines.toolbox.specimen import Surroundings
from plugins.models.sentence_encoder import Encoder
from plugins.quantization.dynamic_int8 import DynamicInt8
from tests.benchmarks.rounds import held, interleaved, words

ROUNDS = 30
FASTER, SMALLER = 2.0, 0.27


def main(asked: list[str]) -> None:
    options = dict(word.split("=", 1) for word in asked)
    if unknown := options.keys() - {"batch", "length", "rounds"}:
        raise SystemExit(f"No option named {', '.join(sorted(unknown))}; there are batch, length and rounds.")
    if reason := minilm.unavailable():
        print(f"Not measured. {reason}")
        return
    torch.set_num_threads(1)
    batch, length = int(options.get("batch", 8)), int(options.get("length", 128))
    compare(batch, length, int(options.get("rounds", ROUNDS)))


@torch.no_grad()
def compare(batch: int, length: int, rounds: int) -> None:
    whole = Encoder(0).eval()
    whole.read(tuple(minilm_tokens()))
    forms: dict[str, nn.Module] = {"float32": whole, "again (A/A)": whole}
    for per_channel in (False, True):
        technique = DynamicInt8(per_channel=per_channel)
        each = copy.deepcopy(whole)
        forms[f"int8, a scale {'each row' if per_channel else 'each matrix'}"] = technique.finish(each, Surroundings(whole))[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        forms["int8 of torch"] = torch.ao.quantization.quantize_dynamic(copy.deepcopy(whole), {nn.Linear}, torch.qint8)
    torch.manual_seed(0)
    ids_BT = torch.randint(1000, minilm.TYPES, (batch, length - 2))
    mask_BT = torch.ones_like(ids_BT, dtype=torch.bool)
    seconds = interleaved({name: lambda each=form: each(ids_BT, mask_BT) for name, form in forms.items()}, rounds, seconds=240)
    u_BE = whole(ids_BT, mask_BT)
    linears = [child for child in whole.modules() if isinstance(child, nn.Linear)]
    weights = sum(each.weight.numel() for each in linears)
    whole_ms = 1e3 * median_interval(seconds["float32"]).value
    print(f"{len(linears)} linear layers, {weights:,} weights; {batch} rows of {length} tokens; float32 {whole_ms:.1f} ms")
    for name, form in forms.items():
        if form is whole and name == "float32":
            continue
        ratio = median_ratio(seconds["float32"], seconds[name])
        ours = name.startswith("int8, ")
        cosine = torch.cosine_similarity(u_BE, form(ids_BT, mask_BT)).min()
        line = f"  {name:<26} {words(ratio)} as fast ({held(ratio, FASTER if ours else None)}); least cosine with float32 {cosine:.4f}"
        if ours:
            share = linear_bytes(form) / (4 * weights)
            line += f"; bytes of the linear weights {share:.4f}x (<= {SMALLER:g}: {'holds' if share <= SMALLER else 'does not hold'})"
        print(line, flush=True)


def minilm_tokens() -> list[str]:
    """The encoder's own tokens in its own order."""
    vocabulary: dict[str, int] = json.loads(minilm.tokenizer_json())["model"]["vocab"]
    return sorted(vocabulary, key=vocabulary.__getitem__)


def linear_bytes(form: nn.Module) -> int:
    """Bytes of what the int8 modules keep of their weights, scales included, biases not (they stay as they were)."""
    tensors = (each for child in form.modules() if isinstance(child, Int8Module) for each in child.state_dict().items())
    return sum(tensor.numel() * tensor.element_size() for name, tensor in tensors if "bias" not in name)


if __name__ == "__main__":
    main(sys.argv[1:])
