"""What stands in the place of a child is called, in evaluation too, where torch's encoder layers go around their children."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from engines.toolbox.exchanging import exchange
from engines.toolbox.specimen import Surroundings
from plugins.quantization.dynamic_int8 import DynamicInt8


class Marked(nn.Linear):
    """Has a weight like any Linear, and computes something else."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + 1.0


def layer(norm_first: bool = False) -> nn.TransformerEncoderLayer:
    torch.manual_seed(0)
    return nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, norm_first=norm_first)


@pytest.mark.parametrize("norm_first", [False, True])
def test_a_form_in_torchs_encoder_layer_is_called_in_evaluation_as_in_training(norm_first: bool) -> None:
    model = nn.Sequential(layer(norm_first))
    x_BTD = torch.randn(2, 5, 8)
    form = Marked(8, 16)
    form.load_state_dict(model[0].linear1.state_dict())
    plain = model(x_BTD)
    exchange(model, "0.linear1", form)
    trained = model(x_BTD).detach()
    assert not torch.allclose(trained, plain, atol=1e-3)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x_BTD), trained)


def test_a_stack_of_encoder_layers_with_padding_takes_a_form() -> None:
    stack = nn.TransformerEncoder(layer(), 2).eval()
    x_BTD, absent_BT = torch.randn(2, 5, 8), torch.tensor([[False] * 5, [False, False, False, True, True]])
    with torch.no_grad():
        before = stack(x_BTD, src_key_padding_mask=absent_BT)
        module, record = DynamicInt8(include=["*.linear1", "*.linear2"]).finish(nn.ModuleDict({"stack": stack}), Surroundings(stack))
        after = module["stack"](x_BTD, src_key_padding_mask=absent_BT)
    assert len(record["modules"]) == 4
    here = ~absent_BT
    error = float((after[here] - before[here]).abs().max())
    assert 0 < error < 0.1, "rounded, and not the same float weights as before"


def test_a_form_is_as_its_place_was() -> None:
    model = nn.Sequential(nn.Linear(2, 2)).eval()
    exchange(model, "0", nn.Linear(2, 2))
    assert not model[0].training
