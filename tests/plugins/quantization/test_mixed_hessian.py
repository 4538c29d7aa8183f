"""quantization/mixed_hessian: which widths are chosen, what is refused, and what is said."""

from __future__ import annotations

import pytest
import torch

from engines.api import Trial
from engines.toolbox.allocation import allocate
from engines.toolbox.curvature import Curvature
from engines.toolbox.specimen import Surroundings, batches, specimen, transformer
from plugins.quantization.mixed_hessian import MixedHessian

TRIAL = Trial(width=16, vocabulary=30, dtype="float32")


def finished(technique: MixedHessian, model=specimen):
    module = model(TRIAL).eval()
    context = Surroundings(module)
    context.batches = batches(TRIAL, 1)
    module, record = technique.finish(module, context)
    return module, {name: each["scheme"]["bits"] for name, each in record["matrices"].items()}, *context.effects[0]


@pytest.mark.parametrize("sensitivity", ["trace", "eigenvalue"])
def test_the_mean_is_kept_and_used_up(sensitivity) -> None:
    _, bits, sentence, figures = finished(MixedHessian(bits=4.5, sensitivity=sensitivity, samples=4, iterations=4), transformer)
    assert 4 < figures["code_bits"] <= 4.5
    assert len(set(bits.values())) > 1
    assert all(f"{name} {width} (" in sentence for name, width in bits.items())
    assert "simulated in speed" in sentence


def test_without_curvature_the_rounding_error_decides_and_that_is_said() -> None:
    module = specimen(TRIAL).eval()
    context = Surroundings(module)  # no text to calibrate on
    _, record = MixedHessian(bits=3.5, samples=2).finish(module, context)
    assert {each["scheme"]["bits"] for each in record["matrices"].values()} == {3, 4}
    assert "widths follow the squared rounding error alone" in context.effects[0][0]


def test_what_matters_more_gets_more() -> None:
    technique = MixedHessian(bits=5, choices=(2, 8))
    weight = torch.randn(16, 64)
    assert technique.mix({"a": weight, "b": weight}, {}, {"a": 1.0, "b": 10.0}) == ({"a": 2, "b": 8}, True)
    assert technique.mix({"a": weight, "b": weight}, {"a": 8}, {"b": 10.0}) == ({"a": 8, "b": 2}, True)


def test_widths_that_are_given_stay_and_count() -> None:
    _, bits, sentence, figures = finished(MixedHessian(bits=4, choices=(2, 3, 4), layer_bits={"*lstm*": 6}, samples=2))
    assert {width for name, width in bits.items() if "lstm" in name} == {6}
    assert "weight_ih_l0 6 (given)" in sentence
    assert "leave no room for a mean of 4: all other matrices got 2 bits" in sentence
    assert figures["code_bits"] > 4


@pytest.mark.parametrize(
    ("values", "words"),
    [({"bits": 3, "choices": (4, 8)}, "no mix has so few"), ({"choices": (1, 4)}, "codes have 2 to 8"), ({"choices": ()}, "choices is empty")],
)
def test_what_cannot_be_is_refused(values, words) -> None:
    with pytest.raises(ValueError, match=words):
        MixedHessian(**values)


def test_a_hidden_second_derivative_is_found_out_and_differences_are_close() -> None:
    class Hiding(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x.detach().cos())
            return x.sin()

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0]

    class Model(torch.nn.Module):
        def __init__(self, hiding: bool) -> None:
            super().__init__()
            self.linear, self.hiding = torch.nn.Linear(6, 6, bias=False).double(), hiding

        def forward(self, batch, state):
            y = self.linear(batch)
            return (Hiding.apply(y) if self.hiding else y.sin()).square().sum(), len(batch), None, {}

    torch.manual_seed(0)
    plain, data = Model(False), [torch.randn(8, 6, dtype=torch.float64)]
    hiding = Model(True)
    hiding.load_state_dict(plain.state_dict())
    exact, differences = (Curvature(m, {"linear.weight": m.linear.weight}, data) for m in (plain, hiding))
    assert exact.exact
    assert not differences.exact
    value = exact.eigenvalue("linear.weight", 200)
    assert differences.eigenvalue("linear.weight", 200) == pytest.approx(value, rel=1e-2)


def test_curvature_leaves_the_model_as_it_was() -> None:
    module = specimen(TRIAL).train()
    weights = {name: p for name, p in module.named_parameters() if p.ndim == 2 and "linear" in name}
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    next(iter(weights.values())).requires_grad_(False)
    Curvature(module, weights, batches(TRIAL, 1)).traces(list(weights), 2)
    assert module.training
    assert not next(iter(weights.values())).requires_grad
    assert all(p.grad is None and torch.equal(p, before[name]) for name, p in module.named_parameters())


def test_nothing_fits() -> None:
    assert allocate([[(3, 1.0)], [(4, 0.0), (9, 0.0)]], 6) is None
    assert allocate([], 0) == []
