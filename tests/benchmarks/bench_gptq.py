"""Three bits in groups of 128 by GPTQ against rounding to nearest, on a real causal model: how much perplexity each adds on text not calibrated on.

    python -m tests.benchmarks gptq [calibration=N] [held_out=N] [sequential=0|1] [act_order=0|1] [layers=N] [symmetric=0|1]

SmolLM2-135M-Instruct from its package, read as English prose that every Python has (the topics of its help): calibration texts from the beginning,
held-out ones from the end, in segments of 256 tokens that begin without context. The matrices of the first `layers` layers are
rounded (30 are all), the table and the head stay. The interval is a paired bootstrap over segments of the ratio of the two increases of
perplexity. The weights of the package lie on a grid of 4 bits in groups of 32.
"""

from __future__ import annotations

import copy
import sys
import time
from typing import Any

import numpy as np
import torch

from engines.statistics import Interval
from engines.toolbox import pretrained
from engines.toolbox.batches import Batch
from engines.toolbox.specimen import Surroundings
from plugins.models.pretrained import PretrainedNet
from plugins.quantization.gptq import GPTQ
from plugins.quantization.weight_only import WeightOnly
from tests.benchmarks.rounds import held, words

SEGMENT, REACH, RESAMPLES = 256, 0.7, 4000
OPTIONS = {"calibration": 8, "held_out": 16, "sequential": 1, "act_order": 1, "layers": 30, "symmetric": 0}


def main(asked: list[str]) -> None:
    options = OPTIONS | {word.partition("=")[0]: int(word.partition("=")[2]) for word in asked}
    if unknown := options.keys() - OPTIONS.keys():
        raise SystemExit(f"No option named {', '.join(sorted(unknown))}; there are {', '.join(OPTIONS)}.")
    if reason := pretrained.unavailable():
        print(f"Not measured. {reason}")
        return
    torch.set_num_threads(1)
    model, tokenizer = pretrained.load()
    calibration, held_out = segments(tokenizer, options["calibration"], options["held_out"])
    plain = PretrainedNet(model, SEGMENT).eval()
    include = tuple(f"body.layers.{layer}.*" for layer in range(options["layers"]))
    grid: dict[str, Any] = {"bits": 3, "granularity": "group", "group_size": 128, "symmetric": bool(options["symmetric"]), "include": include}
    techniques = {
        "to nearest": WeightOnly(keep_unpacked=True, **grid),
        "GPTQ": GPTQ(
            batches=len(calibration), sequential=bool(options["sequential"]), act_order=bool(options["act_order"]), keep_unpacked=True, **grid
        ),
    }
    losses = {"dense": nats(plain, held_out)}
    print(f"{options}; {SEGMENT} tokens a segment; dense: perplexity {perplexity(losses['dense']):.2f}", flush=True)
    for name, technique in techniques.items():
        form, start = copy.deepcopy(plain), time.perf_counter()
        around = Surroundings(form)
        around.batches = calibration
        finished = technique.finish(form, around)[0]
        spent = time.perf_counter() - start
        losses[name] = nats(finished, held_out)
        print(f"  {name:<12} perplexity {perplexity(losses[name]):8.2f} ({spent:.0f} s to round)", flush=True)
    ratio = share(losses)
    print(f"  GPTQ adds {words(ratio)} the perplexity that rounding to nearest adds  {held(ratio, REACH, below=True)}", flush=True)


def segments(tokenizer: Any, calibration: int, held_out: int) -> tuple[list[Batch], list[Batch]]:
    """Batches of one row: as many from the beginning and from the end of the text."""
    text, need = pretrained.library_text(), SEGMENT + 1
    first = tokenizer(text[: 8 * calibration * need], return_tensors="pt").input_ids[0, : calibration * need]
    last = tokenizer(text[-8 * held_out * need :], return_tensors="pt").input_ids[0, -held_out * need :]
    return tuple([Batch(ids[None, :-1], ids[None, 1:], fresh=True) for ids in part.split(need)] for part in (first, last))  # type: ignore[return-value]


@torch.no_grad()
def nats(model: Any, batches: list[Batch]) -> np.ndarray:
    """Nats a token of each segment."""
    return np.array([float(model(batch, None)[0]) / batch.targets_BT.numel() for batch in batches])


def perplexity(losses: np.ndarray) -> float:
    return float(np.exp(losses.mean()))


def share(losses: dict[str, np.ndarray]) -> Interval:
    """(GPTQ - dense) / (nearest - dense) in perplexity, with a percentile interval over resampled segments."""
    chosen = np.random.default_rng(0).integers(0, len(losses["dense"]), (RESAMPLES, len(losses["dense"])))
    dense, nearest, ours = (np.exp(each[chosen].mean(axis=1)) for each in losses.values())
    low, high = np.quantile((ours - dense) / (nearest - dense), [0.025, 0.975])
    dense_, nearest_, ours_ = (perplexity(each) for each in losses.values())
    return Interval((ours_ - dense_) / (nearest_ - dense_), float(low), float(high), len(losses["dense"]))


if __name__ == "__main__":
    main(sys.argv[1:])
