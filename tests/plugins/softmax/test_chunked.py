"""The chunked loss: equal to the full softmax in every type, twice backward, scaled, tied, frozen, padded, and with bounded memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from engines.api import Trial
from engines.toolbox import chunked_loss, trials
from engines.toolbox.chunked_loss import chunked_cross_entropy
from engines.toolbox.heads import IGNORED
from plugins.embeddings.lookup import Lookup
from plugins.softmax import chunked, full
from tests.plugins.checks import EXACT, TRIALS, assert_holds, certificates
from tests.plugins.softmax.rows import rows_and_targets

WIDE = Trial(batch=4, length=50, width=24, vocabulary=300, seed=7)


@pytest.mark.parametrize("trial", TRIALS)
@pytest.mark.parametrize("certificate", certificates(chunked))
def test_certificates(certificate: Callable[[Trial], float], trial: Trial) -> None:
    assert_holds(certificate, trial)


def pair(trial: Trial, embedding: torch.nn.Module | None = None, **parameters: object) -> tuple[chunked.ChunkedSoftmax, torch.nn.Module]:
    """A chunked head and a full one with the same weights."""
    shared = {name: value for name, value in parameters.items() if name in ("tied", "bias")}
    with trials.seeded(trial):
        site = trials.site(trial, embedding=embedding)
        ours, theirs = chunked.Chunked(**parameters).build(site), full.Full(**shared).build(site)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def gradients(head: torch.nn.Module, loss: torch.Tensor, h_ND: torch.Tensor, upstream: float = 1.0) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss * upstream, [h_ND, *head.parameters()]))


@pytest.mark.parametrize("chunk", [1, 64, 200, 10_000])
@pytest.mark.parametrize("upstream", [1.0, -0.37])
def test_equals_full_in_float64(chunk: int, upstream: float) -> None:
    ours, theirs = pair(WIDE, chunk=chunk)
    h_ND, y_N = rows_and_targets(WIDE, ignored=11)
    one, other = ours.loss(h_ND, y_N), theirs.loss(h_ND, y_N)
    torch.testing.assert_close(one, other, rtol=1e-12, atol=0)
    for a, b in zip(gradients(ours, one, h_ND, upstream), gradients(theirs, other, h_ND, upstream), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    assert torch.equal(ours.nll(h_ND, y_N), theirs.nll(h_ND, y_N))


def test_gradcheck() -> None:
    trial = Trial(batch=1, length=5, width=3, vocabulary=7)
    h_ND, y_N = rows_and_targets(trial, ignored=1)
    with trials.seeded(trial):
        w_VD, b_V = torch.randn(7, 3).requires_grad_(), torch.randn(7).requires_grad_()
    assert torch.autograd.gradcheck(lambda h, w, b: chunked_cross_entropy(h, w, b, y_N, 2), (h_ND, w_VD, b_V))
    assert torch.autograd.gradcheck(lambda h, w: chunked_cross_entropy(h, w, None, y_N, 2), (h_ND, w_VD))


def test_a_second_backward_pass_adds_the_same_gradients_again() -> None:
    ours, _ = pair(WIDE, chunk=64)
    h_ND, y_N = rows_and_targets(WIDE)
    loss = ours.loss(h_ND, y_N)
    loss.backward(retain_graph=True)
    first = ours.output.weight.grad.clone(), h_ND.grad.clone()
    (2 * loss).backward()
    torch.testing.assert_close(ours.output.weight.grad, 3 * first[0])
    torch.testing.assert_close(h_ND.grad, 3 * first[1])


def test_gradients_of_gradients_are_refused() -> None:
    ours, _ = pair(WIDE)
    h_ND, y_N = rows_and_targets(WIDE)
    with pytest.raises(RuntimeError, match="no gradient of its gradient"):
        torch.autograd.grad(ours.loss(h_ND, y_N), h_ND, create_graph=True)


def test_a_weight_that_changes_before_backward_is_noticed() -> None:
    ours, _ = pair(WIDE)
    h_ND, y_N = rows_and_targets(WIDE)
    loss = ours.loss(h_ND, y_N)
    with torch.no_grad():
        ours.output.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_accumulating_over_parts_equals_the_whole() -> None:
    ours, _ = pair(WIDE, chunk=30)
    h_ND, y_N = rows_and_targets(WIDE, ignored=3)
    whole = gradients(ours, ours.loss(h_ND, y_N), h_ND)[1:]
    for h, y in zip(h_ND.split(70), y_N.split(70), strict=True):
        ours.loss(h, y).backward()
    for p, g in zip(ours.parameters(), whole, strict=True):
        torch.testing.assert_close(p.grad, g)


def test_padding_and_no_rows_cost_nothing() -> None:
    ours, _ = pair(EXACT, chunk=4)
    h_ND, y_N = rows_and_targets(EXACT, ignored=6)
    assert (gradients(ours, ours.loss(h_ND, y_N), h_ND)[0][:6] == 0).all()
    nothing = ours.loss(h_ND, torch.full_like(y_N, IGNORED))
    assert nothing == 0
    assert all((g == 0).all() for g in gradients(ours, nothing, h_ND))
    empty = ours.loss(h_ND[:0], y_N[:0])
    assert empty == 0
    assert all((g == 0).all() for g in gradients(ours, empty, h_ND))


def test_a_frozen_part_gets_no_gradient_and_without_gradients_none_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pair(WIDE)
    h_ND, y_N = rows_and_targets(WIDE)
    ours.output.weight.requires_grad_(False)
    ours.loss(h_ND, y_N).backward()
    assert ours.output.weight.grad is None
    reference = gradients(theirs, theirs.loss(h_ND, y_N), h_ND)
    torch.testing.assert_close(h_ND.grad, reference[0])
    torch.testing.assert_close(ours.output.bias.grad, reference[2])
    made: list[object] = []
    monkeypatch.setattr(chunked_loss, "_add_product", lambda *_: made.append(0))
    with torch.no_grad():
        torch.testing.assert_close(ours.loss(h_ND, y_N), theirs.loss(h_ND, y_N))
    assert not made


@pytest.mark.parametrize("embedding_width", [EXACT.width, 5])
def test_tied_with_and_without_a_projection(embedding_width: int) -> None:
    with trials.seeded(EXACT):
        embedding = Lookup(width=embedding_width).build(trials.site(EXACT))
    ours, theirs = pair(EXACT, embedding=embedding, chunk=4, tied=True)
    assert ours.output.weight is embedding.weight
    h_ND, y_N = rows_and_targets(EXACT)
    found = []
    for head in (ours, theirs):
        embedding.weight.grad = None
        read_ND = h_ND if embedding_width != EXACT.width else h_ND + embedding(y_N)
        head.loss(read_ND, y_N).backward()
        found.append(embedding.weight.grad.clone())
    torch.testing.assert_close(*found)


def errors_in_bf16(kernel: str, chunk: int) -> list[float]:
    """How far the gradients of h, W and b under autocast are from those in float32, relative to their length."""
    trial = Trial(batch=8, length=64, width=16, vocabulary=50, dtype="float32", seed=3)
    h_ND, y_N = rows_and_targets(trial)
    ours, theirs = pair(trial, chunk=chunk, kernel=kernel)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = ours.loss(h_ND, y_N)
    found, precise = gradients(ours, loss, h_ND), gradients(theirs, theirs.loss(h_ND, y_N), h_ND)
    assert loss.dtype == torch.float32
    assert [g.dtype for g in found] == [torch.float32] * 3
    return [float((a - b).norm() / b.norm()) for a, b in zip(found, precise, strict=True)]


def test_under_autocast_sums_over_chunks_are_not_rounded() -> None:
    """bf16 products, one row a chunk: the gradients are as close to the precise ones as with a single chunk."""
    many, one = errors_in_bf16("own", 1), errors_in_bf16("own", 512)
    assert max(one) < 0.01
    assert max(many) < 0.01


@pytest.mark.skipif(not hasattr(F, "linear_cross_entropy"), reason="this torch has no linear_cross_entropy")
def test_the_kernel_of_torch_works_under_autocast() -> None:
    assert max(errors_in_bf16("torch", 512)) < 0.01


def test_float16_keeps_small_probabilities() -> None:
    """Probabilities of 1e-8 are zero in float16; their gradients are kept, as a scaled loss asks."""
    h_ND, y_N = torch.ones(4, 8, dtype=torch.float16).requires_grad_(), torch.zeros(4, dtype=torch.int64)
    w_VD = torch.zeros(3, 8, dtype=torch.float16)
    w_VD[0] = 2.25  # token 0 leads by 18
    w_VD.requires_grad_()
    (gradient,) = torch.autograd.grad(chunked_cross_entropy(h_ND, w_VD, None, y_N, 2) * 2.0**15, w_VD)
    (precise,) = torch.autograd.grad(
        F.cross_entropy(h_ND.detach().double() @ (w := w_VD.detach().double().requires_grad_()).T, y_N, reduction="sum") * 2.0**15, w
    )
    torch.testing.assert_close(gradient.double()[1:], precise[1:], rtol=0.05, atol=0)


def test_types_that_do_not_fit_are_refused_with_a_sentence() -> None:
    with pytest.raises(TypeError, match=r"hidden states are torch.bfloat16 and the output matrix is torch.float32"):
        chunked_cross_entropy(torch.zeros(2, 3).bfloat16(), torch.zeros(4, 3), None, torch.zeros(2, dtype=torch.int64), 1)


def test_an_old_torch_is_told_what_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(F, "linear_cross_entropy", raising=False)
    with pytest.raises(ValueError, match=r'kernel = "torch" needs torch 2\.13 or newer'):
        chunked.Chunked(kernel="torch").build(trials.site(EXACT))


def largest_allocation(run: Callable[[], object]) -> int:
    """Bytes of the largest tensor that comes into being while `run` works, outside views."""
    from torch.utils._python_dispatch import TorchDispatchMode

    sizes = [0]

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = function(*args, **(kwargs or {}))
            sizes.extend(t.untyped_storage().nbytes() for t in (result if isinstance(result, tuple) else (result,)) if isinstance(t, torch.Tensor))
            return result

    with Watch():
        run()
    return max(sizes)


@pytest.mark.parametrize("chunk", [16, 50])
def test_no_tensor_is_larger_than_a_chunk_of_scores_or_the_weights(chunk: int) -> None:
    ours, theirs = pair(WIDE, chunk=chunk)
    h_ND, y_N = rows_and_targets(WIDE)
    bound = 8 * max(chunk * WIDE.vocabulary, WIDE.vocabulary * WIDE.width)
    assert largest_allocation(lambda: ours.loss(h_ND, y_N).backward()) <= bound
    assert largest_allocation(lambda: theirs.loss(h_ND, y_N).backward()) >= 8 * len(y_N) * WIDE.vocabulary


@pytest.mark.gpu
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_on_a_gpu(half: torch.dtype) -> None:
    trial = Trial(batch=8, length=64, width=64, vocabulary=1000, dtype="float32", device="cuda", seed=3)
    ours, theirs = pair(trial, chunk=100)
    h_ND, y_N = rows_and_targets(trial)
    y_N = y_N.cuda()
    precise = gradients(theirs, theirs.loss(h_ND, y_N), h_ND)
    with torch.autocast("cuda", dtype=half):
        loss = ours.loss(h_ND, y_N)
    for a, b in zip(gradients(ours, loss, h_ND, 1024.0), precise, strict=True):
        assert float((a / 1024 - b).norm() / b.norm()) < 0.02


def test_it_is_built_and_reads_shapes_without_values() -> None:
    with torch.device("meta"):
        head = chunked.Chunked().build(trials.site(EXACT))
        loss = head.loss(torch.zeros(5, EXACT.width), torch.zeros(5, dtype=torch.int64))
    assert loss.is_meta
    assert loss.shape == ()
