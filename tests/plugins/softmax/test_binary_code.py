"""Binary codes: brute force, leaked mass, the recursion over bits, Viterbi against planted errors, objectives, padding, training."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from engines.api import Site, Trial
from engines.toolbox import heads, trials
from engines.toolbox.codes import Code, ConvolutionalCode, PlainCode, binary
from plugins.softmax import binary_code
from tests.plugins.checks import EXACT, TRIALS, assert_holds, certificates
from tests.plugins.softmax.rows import rows_and_targets

SIZES = (2, 3, 5, 8, 31, 32, 33, 100)


def build(trial: Trial = EXACT, **parameters: object) -> binary_code.CodedHead:
    with trials.seeded(trial):
        return binary_code.BinaryCode(**parameters).build(trials.site(trial))


def scores(code: Code, rows: int = 200, scale: float = 3.0) -> torch.Tensor:
    return scale * torch.randn(rows, code.places, dtype=torch.float64, generator=torch.Generator().manual_seed(code.size))


@pytest.mark.parametrize("trial", TRIALS)
@pytest.mark.parametrize("certificate", certificates(binary_code))
def test_certificates(certificate: Callable[[Trial], float], trial: Trial) -> None:
    assert_holds(certificate, trial)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [PlainCode, ConvolutionalCode])
def test_the_recursion_sums_and_searches_as_a_list_of_all_code_words_does(kind: type[Code], size: int) -> None:
    code = kind(size)
    s_NM = scores(code).requires_grad_()
    listed_NV = s_NM @ code.words_VM.double().T
    ours, theirs = code.log_total(s_NM), listed_NV.logsumexp(dim=1)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    weight_N = torch.randn(len(s_NM), dtype=torch.float64)
    torch.testing.assert_close(*(torch.autograd.grad(value, s_NM, weight_N)[0] for value in (ours, theirs)), rtol=1e-11, atol=1e-12)
    assert torch.equal(code.best(s_NM), listed_NV.argmax(dim=1))


@pytest.mark.parametrize("kind", [PlainCode, ConvolutionalCode])
def test_one_token_alone_needs_no_bit(kind: type[Code]) -> None:
    code = kind(1)
    assert code.bits == 0
    s_NM = torch.zeros(3, code.places)
    assert code.log_total(s_NM).tolist() == [0.0, 0.0, 0.0]
    assert code.best(s_NM).tolist() == [0, 0, 0]


def test_large_scores_neither_overflow_nor_lose_the_gradient() -> None:
    for code in (PlainCode(100), ConvolutionalCode(100)):
        s_NM = (300 * scores(code).float()).requires_grad_()
        total_N = code.log_total(s_NM)
        torch.testing.assert_close(total_N.double(), (s_NM.double() @ code.words_VM.double().T).logsumexp(dim=1), rtol=1e-5, atol=1e-3)
        (gradient,) = torch.autograd.grad(total_N.sum(), s_NM)
        assert torch.isfinite(gradient).all()
        assert ((gradient > -0.01) & (gradient < 1.01)).all()  # sums of 20,000 in float32 are known to 0.002


def test_plain_words_are_ranks_most_significant_bit_first() -> None:
    assert PlainCode(6).words_VM.tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1], [1, 0, 0], [1, 0, 1]]


def test_the_encoder_against_a_polynomial_product() -> None:
    """An encoder without end effects multiplies the message, as a polynomial over two elements, by each of its taps."""
    code = ConvolutionalCode(1 << 9)
    for v in (0, 1, 5, 317, 511):
        message = [int(bit) for bit in format(v, "09b")]
        for r, tap in enumerate(("1111001", "1011011")):
            product = np.convolve(message, [int(bit) for bit in tap]) % 2
            assert code.words_VM[v, r::2].tolist() == product.tolist()


def test_sixteen_bits_become_forty_four_with_distance_ten() -> None:
    code = ConvolutionalCode(1 << 16)
    assert code.places == 44
    weight_V = code.words_VM.sum(dim=1, dtype=torch.int64)
    assert int(weight_V[1:].min()) == 10  # the code is linear, so this is the least distance of any two words


def flipped(code: Code, word: int, flips: torch.Tensor) -> torch.Tensor:
    """Hard scores of a word, one row a set of places that are wrong."""
    sure_M = (2 * code.words_VM[word].float() - 1).repeat(len(flips), 1)
    return sure_M.scatter(1, flips, -sure_M.gather(1, flips))


@pytest.mark.parametrize("size", [1 << 16, 49_152])
def test_four_planted_errors_are_corrected(size: int) -> None:
    code = ConvolutionalCode(size)
    draw = torch.Generator().manual_seed(0)
    flips = torch.stack([torch.randperm(44, generator=draw)[:4] for _ in range(500)])
    for word in (0, 1, size // 3, size - 1):
        assert (code.best(flipped(code, word, flips)) == word).all()


@pytest.mark.slow
def test_any_four_errors_are_corrected() -> None:
    code = ConvolutionalCode(40_000)
    flips = torch.tensor(list(combinations(range(44), 4)))
    assert len(flips) == 135_751
    for word in (12_345, 39_999):
        for part in flips.split(20_000):
            assert (code.best(flipped(code, word, part)) == word).all()


def test_five_errors_can_be_too_many() -> None:
    """Half way to a word at distance ten the nearest word is no longer the sent one alone: the test above could fail."""
    code = ConvolutionalCode(1 << 16)
    near = int(code.words_VM.sum(dim=1, dtype=torch.int64)[1:].argmin()) + 1
    places = code.words_VM[near].nonzero().squeeze(1)
    six = flipped(code, 0, places[:6].unsqueeze(0))
    assert code.best(six).tolist() == [near]


def test_mass_leaks_without_renormalising() -> None:
    """With 33 tokens of 64 numbers, equal bits would leave nearly half of the probability to no token."""
    head = build(Trial(vocabulary=33, width=8))
    h_ND = rows_and_targets(Trial(vocabulary=33, width=8))[0]
    with torch.no_grad():
        head.output.weight.zero_()
        head.output.bias.zero_()
        _, s_NM = head.parts(h_ND)
        bare = (head.code.scores(s_NM) + F.logsigmoid(-s_NM).sum(dim=1, keepdim=True)).exp().sum(dim=1)
        torch.testing.assert_close(bare, torch.full_like(bare, 33 / 64))
        total = head.log_prob(h_ND).exp().sum(dim=1)
    torch.testing.assert_close(total, torch.ones_like(total))


@pytest.mark.parametrize("hybrid", [0, 10])
@pytest.mark.parametrize("error_correcting", [False, True])
@pytest.mark.parametrize("objective", ["cross_entropy", "squared_error", "exact"])
def test_loss_is_the_stated_one_and_padding_costs_nothing(objective: str, error_correcting: bool, hybrid: int) -> None:
    head = build(hybrid=hybrid, error_correcting=error_correcting, objective=objective)
    h_ND, y_N = rows_and_targets(EXACT, ignored=5)
    y_N[5:9] = torch.tensor([0, 8, 9, 39])  # both sides of the border
    expected = torch.zeros(())
    a_NH, s_NM = head.parts(h_ND)
    border = max(0, hybrid - 1)
    for a_H, s_M, y in zip(a_NH[5:], s_NM[5:], y_N[5:].tolist(), strict=True):
        if hybrid:
            expected = expected - a_H.log_softmax(-1)[min(y, border)]
        if y >= border:
            c_M = head.code.words_VM[y - border].double()
            q_M = s_M.sigmoid()
            if objective == "cross_entropy":
                expected = expected - (c_M * q_M.log() + (1 - c_M) * (1 - q_M).log()).sum()
            elif objective == "squared_error":
                expected = expected + ((q_M - c_M) ** 2).sum()
            else:
                expected = expected - (head.code.words_VM.double() @ s_M).log_softmax(0)[y - border]
    loss = head.loss(h_ND, y_N)
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=1e-10)
    (gradient,) = torch.autograd.grad(loss, h_ND)
    assert (gradient[:5] == 0).all()
    assert (head.nll(h_ND, y_N)[:5] == 0).all()
    assert head.loss(h_ND, torch.full_like(y_N, heads.IGNORED)) == 0


def test_the_untrained_bits_are_as_frequent_as_in_the_text() -> None:
    head = build(Trial(vocabulary=64, width=8), hybrid=0)
    with trials.seeded(Trial(vocabulary=64)):
        share_V = heads.log_unigram(trials.site(Trial(vocabulary=64)).vocabulary.counts).exp()
    expected_M = (share_V[:, None] * binary(torch.arange(64), 6)).sum(dim=0)
    torch.testing.assert_close(head.output.bias.detach().sigmoid(), expected_M.to(head.output.bias.dtype))


def test_outputs_are_few() -> None:
    site = Site(width=4, vocabulary=trials.zipf_vocabulary(49_152), length=2)
    outputs = {
        (n, ecc): binary_code.BinaryCode(hybrid=n, error_correcting=ecc).build(site).output.out_features for n in (0, 512) for ecc in (False, True)
    }
    assert outputs == {(0, False): 16, (512, False): 528, (0, True): 44, (512, True): 556}


def test_wrong_sizes_are_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="hybrid = 1 would be a softmax over OTHER alone"):
        binary_code.BinaryCode(hybrid=1)
    with pytest.raises(ValueError, match=r"hybrid 41 is more than the vocabulary has tokens \(40\)"):
        build(hybrid=41)


@pytest.mark.parametrize("parameters", [{}, {"hybrid": 100}, {"error_correcting": True}, {"hybrid": 100, "error_correcting": True}])
def test_under_autocast_judgement_stays_exact(parameters: dict[str, object]) -> None:
    trial = Trial(dtype="float32", vocabulary=500, seed=2)
    head = build(trial, **parameters)
    h_ND, y_N = rows_and_targets(trial)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, nll_N, total_N = head.loss(h_ND, y_N), head.nll(h_ND, y_N), head.log_prob(h_ND).exp().sum(dim=1)
    loss.backward()
    assert loss.dtype == nll_N.dtype == torch.float32
    torch.testing.assert_close(total_N, torch.ones_like(total_N), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(nll_N, head.nll(h_ND, y_N), rtol=0.03, atol=0.1)
    assert torch.isfinite(head.output.weight.grad).all()


def test_buffers_are_not_part_of_the_saved_model() -> None:
    assert sorted(build(error_correcting=True, hybrid=5).state_dict()) == ["output.bias", "output.weight"]


def test_training_exactly_learns_what_bits_alone_cannot() -> None:
    """One context, two of three tokens likely (codes 00, 01, 10): independent bits put mass on 11, which is no token; the exact loss knows."""
    truth_V = torch.tensor([0.1, 0.45, 0.45], dtype=torch.float64)
    entropy = -float((truth_V * truth_V.log()).sum())
    found = {}
    for objective in ("cross_entropy", "exact"):
        with trials.seeded(Trial(vocabulary=3)):
            head = binary_code.BinaryCode(objective=objective).build(Site(width=1, vocabulary=trials.zipf_vocabulary(3), length=1))
            h_31, y_3 = torch.zeros(3, 1), torch.arange(3)
            optimizer = torch.optim.LBFGS([head.output.bias], max_iter=100, tolerance_grad=1e-10)

            def closure(head: binary_code.CodedHead = head, optimizer: torch.optim.LBFGS = optimizer) -> torch.Tensor:
                optimizer.zero_grad()
                total = sum(truth_V[y] * head.loss(torch.zeros(1, 1), torch.tensor([y])) for y in range(3))
                total.backward()
                return total

            optimizer.step(closure)
            found[objective] = float((truth_V * head.nll(h_31, y_3)).sum().detach()) - entropy
    assert found["exact"] == pytest.approx(0.0, abs=1e-6)
    assert found["cross_entropy"] > 0.01


def test_it_is_built_and_reads_shapes_without_values() -> None:
    with torch.device("meta"):
        head = binary_code.BinaryCode(hybrid=10, error_correcting=True).build(trials.site(EXACT))
        h_ND, y_N = torch.zeros(5, EXACT.width), torch.zeros(5, dtype=torch.int64)
        assert head.loss(h_ND, y_N).shape == ()
        assert head.nll(h_ND, y_N).shape == (5,)
        assert head.log_prob(h_ND).shape == (5, EXACT.vocabulary)
        assert head.topk(h_ND, 1)[1].shape == head.topk(h_ND, 3)[1][:, :1].shape == (5, 1)
