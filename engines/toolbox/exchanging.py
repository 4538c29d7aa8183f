"""Put another module in the place of a child, so that it is really called."""

from __future__ import annotations

from torch import nn


def exchange(module: nn.Module, name: str, form: nn.Module) -> None:
    """Put `form` in the place of the child of this full name, in training or evaluation as that was.

    In evaluation torch's own encoder layers go around their children: they hand `linear1.weight` and the like to one fused kernel, which would
    compute with the float weights that a quantised form stands for, and never call it. Such layers above the child are told to call it.
    """
    steps = name.split(".")
    above = module
    for step in steps[:-1]:
        _call_children(above)
        above = above.get_submodule(step)
    _call_children(above)
    setattr(above, steps[-1], form.train(getattr(above, steps[-1]).training))


def _call_children(module: nn.Module) -> None:
    if isinstance(module, nn.TransformerEncoderLayer):
        # Read by torch for nothing else: without it there is no fused kernel. The activation itself is another attribute.
        module.activation_relu_or_gelu = 0
    elif isinstance(module, nn.TransformerEncoder):
        # Nested tensors are what the fused kernel alone takes.
        module.use_nested_tensor = False
