"""Modules whose buffers have the size that a text gave them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Growing(nn.Module):
    """Takes buffers of any size from a state_dict."""

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any, **kwargs: Any) -> None:
        for name, mine in list(self._buffers.items()):
            if mine is not None and (coming := state_dict.get(prefix + name)) is not None:
                self._buffers[name] = torch.empty_like(coming, device=mine.device)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
