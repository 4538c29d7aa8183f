"""What modules multiply their matrices with: held against the modules themselves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from engines.toolbox.inputs import patches, readers, rows, watched

CONVOLUTIONS = [
    (nn.Conv1d, {"kernel_size": 3}),
    (nn.Conv1d, {"kernel_size": 4, "padding": 2, "stride": 2}),
    (nn.Conv1d, {"kernel_size": 3, "padding": "same", "dilation": 2}),
    (nn.Conv1d, {"kernel_size": 3, "padding": 2, "padding_mode": "circular"}),
    (nn.Conv2d, {"kernel_size": (2, 3), "padding": (1, 0), "stride": (1, 2)}),
    (nn.Conv2d, {"kernel_size": 3, "padding": "same", "padding_mode": "reflect"}),
]


@pytest.mark.parametrize(("kind", "options"), CONVOLUTIONS)
def test_a_convolution_is_its_patches_times_its_rows(kind: Any, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    conv = kind(5, 7, **options).double()
    x = torch.randn(2, 5, *((9,) if kind is nn.Conv1d else (8, 9)), dtype=torch.float64)
    y = conv(x).flatten(2).transpose(1, 2).reshape(-1, 7)
    torch.testing.assert_close(patches(conv, x) @ conv.weight.flatten(1).T + conv.bias, y, rtol=0, atol=1e-12)


def test_groups_of_channels_and_text_without_rows_show_nothing() -> None:
    grouped, lstm = nn.Conv1d(4, 4, 3, groups=2), nn.LSTM(3, 3)
    assert rows(grouped, "weight", (torch.randn(2, 4, 9),), {}, None) is None
    assert rows(lstm, "weight_ih_l0", (torch.randn(5, 3),), {}, None) is None
    assert rows(nn.Linear(3, 3), "weight", (), {}, None) is None


def test_the_states_of_a_gru_are_those_that_make_its_gates() -> None:
    torch.manual_seed(0)
    gru = nn.GRU(3, 4, 2, batch_first=True).double()
    x, h = torch.randn(2, 6, 3, dtype=torch.float64), torch.randn(2, 2, 4, dtype=torch.float64)
    y, _ = gru(x, h)
    before = rows(gru, "weight_hh_l1", (x,), {"hx": h}, (y, None))
    assert before is not None
    assert torch.equal(before.view(2, 6, 4)[:, 0], h[1])
    assert torch.equal(before.view(2, 6, 4)[:, 1:], y[:, :-1])
    assert rows(gru, "weight_hh_l0", (x, h), {}, (y, None)) is None, "what goes on between its layers no call shows"


class Attention(nn.Module):
    """Three that read one tensor, one of them by name; a fourth that reads what they made, and a fifth that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o, self.spare = (nn.Linear(4, 4) for _ in range(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.o(self.q(x) * self.k(input=x) + self.v(x))


def test_keywords_are_seen_and_readers_of_one_tensor_stand_together() -> None:
    model, x = Attention(), torch.randn(2, 3, 4)
    seen: dict[str, torch.Tensor] = {}
    names = [f"{own}.weight" for own in ("spare", "o", "v", "k", "q")]
    with watched(model, names, lambda name, found: seen.update({name: found})):
        model(x)
    assert set(seen) == set(names) - {"spare.weight"}
    assert torch.equal(seen["k.weight"], x.flatten(0, 1))
    assert readers(model, names, lambda: model(x)) == [["q.weight", "k.weight", "v.weight"], ["o.weight"], ["spare.weight"]]


def test_a_tensor_that_was_changed_in_between_is_another() -> None:
    class Changes(Attention):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.clone()
            y = self.q(x)
            return y + self.k(x.add_(1)) + self.v(self.v(x))

    model = Changes()
    with torch.no_grad():
        assert readers(model, ["q.weight", "k.weight", "v.weight"], lambda: model(torch.randn(2, 4))) == [["q.weight"], ["k.weight"], ["v.weight"]]
