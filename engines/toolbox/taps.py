"""Look into a model while it runs: what its modules give, and what attention sees before the softmax. Hooks stand only inside `with`.

Shapes: B rows, T tokens, H query heads, K head width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from engines.problems import did_you_mean
from engines.toolbox.attention import SelfAttention, band_mask, rotate, split_heads


class Tap:
    """What one pass left. names: the modules that matched, in the order of the model; outputs: name -> (B, T, D), graph kept."""

    def __init__(self, modules: dict[str, nn.Module]) -> None:
        self.names = tuple(modules)
        self.outputs: dict[str, Tensor] = {}
        self._modules = modules
        self._projected: dict[tuple[str, str], Tensor] = {}

    def scores(self, name: str) -> tuple[Tensor, Tensor]:
        """(q k^T / sqrt(K) of the pass, (B, H, T, T); which of them count, bool (T, T)). Keys of a cache before this pass are left out."""
        attention = attention_of(name, self._modules[name])
        q_BHTK = split_heads(self._projected[name, "query"], attention.heads)
        k_BGTK = split_heads(self._projected[name, "key"], getattr(attention, "kv_heads", attention.heads))
        if attention.positions == "rotary":
            q_BHTK, k_BGTK = rotate(q_BHTK, 0), rotate(k_BGTK, 0)  # only distances count
        k_BHTK = k_BGTK.repeat_interleave(attention.heads // k_BGTK.shape[1], dim=1)
        length = q_BHTK.shape[2]
        if getattr(attention, "causal", True):
            seen_TT = band_mask(length, length, attention.window, q_BHTK.device)
        else:  # padding, which nothing here knows of, apart
            seen_TT = torch.ones(length, length, dtype=torch.bool, device=q_BHTK.device)
        return q_BHTK @ k_BHTK.transpose(-2, -1) * q_BHTK.shape[-1] ** -0.5, seen_TT

    def keep_output(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            self._once(self.outputs, name, output[0] if isinstance(output, tuple) else output)

        return hook

    def keep_projection(self, name: str, part: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Tensor) -> None:
            self._once(self._projected, (name, part), output)

        return hook

    @staticmethod
    def _once(kept: dict[Any, Tensor], key: Any, value: Tensor) -> None:
        if key in kept:
            raise ValueError(
                f"{key if isinstance(key, str) else '.'.join(key)} was called more than once in one pass, so that it has no one result to look "
                "at: attention with learned positions cuts a sequence longer than its window; give it a window of at least the sequence."
            )
        kept[key] = value


@contextmanager
def tap(model: nn.Module, pattern: str, *, scores: bool = False) -> Iterator[Tap]:
    """Listen to the modules of `model` whose names match `pattern`; scores: to queries and keys of the attention inside each, too.

    A `*` stands for one part of a name or some of it, never for a dot: `layers.*` are the layers and not what is in them. Raises ValueError
    with a sentence where nothing matches, or where scores are asked of what has none.
    """
    modules = matching(model, pattern)
    found = Tap(modules)
    hooks = []
    try:
        for name, module in modules.items():
            hooks.append(module.register_forward_hook(found.keep_output(name)))
            if scores:
                attention = attention_of(name, module)
                hooks += [getattr(attention, part).register_forward_hook(found.keep_projection(name, part)) for part in ("query", "key")]
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def matching(model: nn.Module, pattern: str) -> dict[str, nn.Module]:
    """Name -> module, in the order of the model. Raises ValueError with a sentence where there is none."""
    wanted = pattern.split(".")
    found = {}
    for name, module in model.named_modules():
        parts = name.split(".")
        if name and len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted)):
            found[name] = module
    if not found:
        names = [name for name, _ in model.named_modules() if name.count(".") == pattern.count(".")]
        hint = did_you_mean(pattern, names)
        raise ValueError(f'No module of the model is called "{pattern}"{f"; {hint}" if hint else ""}. A * stands for one part of a name.')
    return found


def attention_of(name: str, module: nn.Module) -> Any:
    """The one attention inside a module whose output is softmax(q k^T / sqrt(K)) v of its children `query` and `key`.

    Raises ValueError with a sentence where there is none, or more than one.
    """
    inside = [part for part in module.modules() if isinstance(part, SelfAttention) or getattr(part, "tells_scores", False)]
    if len(inside) != 1:
        mixer = type(getattr(module, "mixer", module)).__name__
        raise ValueError(
            f"{name} ({mixer}) has {len(inside)} attentions with separate query and key layers, and scores are read from exactly one: "
            "use attention/full, attention/sliding_window or attention/bidirectional there, or look at hidden states alone."
        )
    return inside[0]
