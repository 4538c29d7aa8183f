"""precision/mixed: bf16 end to end on the CPU, the loss scale against torch.amp.GradScaler."""

from __future__ import annotations

import pytest
import torch

from engines.api import Trial
from engines.toolbox.batches import detach
from engines.toolbox.specimen import Surroundings, backward_of, batches, gradients, specimen
from plugins.memory.gradient_accumulation import GradientAccumulation
from plugins.optimization.clip_norm import ClipNorm
from plugins.precision import mixed
from plugins.precision.mixed import Mixed

TRIAL = Trial(batch=4, length=6, width=8, vocabulary=13, dtype="float32")


def test_bf16_trains_with_carried_state_and_32_bit_weights() -> None:
    module = specimen(TRIAL)
    context = Surroundings(module)
    loss_of = Mixed().loss(module, context)
    backward = Mixed().gradient(backward_of(loss_of), context)
    update = Mixed().step(context.optimizer.step, context)
    state, losses = None, []
    segments = batches(TRIAL, 2)
    for batch in segments * 10:
        loss, count, state, extras = backward(batch, state)
        state = detach(state)
        update()
        module.zero_grad()
        losses.append(float(loss) / count)
    assert loss.dtype == torch.float32
    assert extras["hidden_ND"].dtype in (torch.bfloat16, torch.float32)
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    assert losses[-1] < losses[0]
    assert context.state == {}


def test_fp16_on_the_cpu_is_refused_with_the_way_out() -> None:
    module = specimen(TRIAL)
    with pytest.raises(ValueError, match='set dtype = "bf16"'):
        Mixed(dtype="fp16").loss(module, Surroundings(module))


def test_the_loss_scale_moves_as_torch_moves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixed, "GROWTH_INTERVAL", 2)
    parameter = torch.nn.Parameter(torch.ones(3))
    module = torch.nn.Module()
    module.weight = parameter
    optimizer = torch.optim.SGD([parameter], lr=0.5)
    context = Surroundings(module, optimizer)
    technique = Mixed(dtype="fp16")

    def forward_backward(factor, state, count=None, scale=1.0):
        (parameter.sum() * factor * scale).backward()
        return parameter.sum().detach(), 1, state, {}

    def plain_update() -> None:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    backward = technique.gradient(forward_backward, context)
    update = technique.step(plain_update, context)

    reference = torch.nn.Parameter(torch.ones(3))
    reference_optimizer = torch.optim.SGD([reference], lr=0.5)
    scaler = torch.amp.GradScaler("cpu", init_scale=mixed.FIRST_SCALE, growth_interval=2)
    for factor in (0.1, float("inf"), 0.2, 0.3, 0.4, float("nan"), 0.5):
        backward(factor, None)
        update()
        scaler.scale(reference.sum() * factor).backward()
        scaler.step(reference_optimizer)
        scaler.update()
        reference_optimizer.zero_grad()
        assert context.state["scale"] == scaler.get_scale()
        assert torch.equal(parameter, reference)
        assert parameter.grad is None
    assert [key for key, *_ in context.logged] == ["loss_scale"] * 3


def test_gradients_that_overflow_at_every_scale_end_training_with_a_reason() -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    module = torch.nn.Module()
    module.weight = parameter
    context = Surroundings(module, torch.optim.SGD([parameter], lr=0.5))
    stopped: list[str] = []
    context.stop = stopped.append  # type: ignore[method-assign]
    technique = Mixed(dtype="fp16")

    def forward_backward(batch, state, count=None, scale=1.0):
        (parameter.sum() * float("nan") * scale).backward()
        return parameter.sum().detach(), 1, state, {}

    backward = technique.gradient(forward_backward, context)
    update = technique.step(lambda: pytest.fail("updated with gradients that are not finite"), context)
    for _ in range(30):  # 2^16 to 2^-14
        backward(None, None)
        update()
    assert (context.state["scale"], stopped) == (mixed.SMALLEST_SCALE, [])
    backward(None, None)
    update()
    assert context.state["scale"] == mixed.SMALLEST_SCALE
    assert len(stopped) == 1
    assert "not finite" in stopped[0]
    assert torch.equal(parameter, torch.ones(3))


def test_the_gpu_of_the_run_is_asked_for_its_abilities(monkeypatch: pytest.MonkeyPatch) -> None:
    abilities = {0: (9, 0), 1: (6, 1)}
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: abilities[device.index if device is not None else 0])
    assert mixed._warning(torch.device("cuda", 0)) == ""
    assert "no 16-bit matrix units" in mixed._warning(torch.device("cuda", 1))


def test_the_certificate_of_the_scale_holds_in_every_format() -> None:
    for dtype in ("float64", "float32", "bfloat16", "float16"):
        assert mixed.scaling_is_exact(Trial(**{**vars(TRIAL), "dtype": dtype})) == 0.0


@pytest.mark.parametrize("clip_first", [True, False])
@pytest.mark.parametrize("accumulate_first", [True, False])
def test_true_gradients_reach_clipping_and_accumulation_in_any_order(clip_first: bool, accumulate_first: bool) -> None:
    batch = batches(TRIAL, 1)[0]

    def run(half: list[Mixed]) -> torch.Tensor:
        module = specimen(TRIAL)
        context = Surroundings(module)
        accumulation, clip = GradientAccumulation(micro_batches=3), ClipNorm(max_norm=0.01)
        backward = backward_of(module)
        for technique in [accumulation, *half] if accumulate_first else [*half, accumulation]:
            backward = technique.gradient(backward, context)
        seen: list[torch.Tensor] = []
        update = lambda: seen.append(gradients(module).clone())  # noqa: E731
        for technique in [clip, *half] if clip_first else [*half, clip]:
            update = technique.step(update, context)
        backward(batch, None)
        update()
        return seen[0]

    assert torch.equal(run([Mixed(dtype="fp16")]), run([]))


def test_a_resumed_run_keeps_its_scale() -> None:
    module = specimen(TRIAL)
    context = Surroundings(module)
    context.state = {"scale": 128.0, "clean": 5}
    Mixed(dtype="fp16").gradient(backward_of(module), context)
    assert context.state == {"scale": 128.0, "clean": 5}
