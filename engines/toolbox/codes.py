"""Codes for the V tokens of a vocabulary: the plain binary number of an id, and a convolutional code that corrects errors.

Token v has the code word c_v of M zeros and ones. Given one score a place, s (M), its own score is c_v s, and

    log p(v) = c_v s - log Z(s),    Z(s) = sum over v < V of exp(c_v s)                        (1)

which is the product of M independent probabilities sigmoid(+-s), divided by what that product gives to the V code words that stand for a
token. Both codes read a number from its most significant bit on, so the numbers below V fall into few groups: those that share the bits of V
above place t, have 0 where V has 1 at t, and are free below. Within a group the sum over the free bits factorises, hence Z costs O(B) for
the plain code and O(states * steps) for the convolutional one, instead of V code words; with max for + the same recursion finds the best one.

Shapes: N rows, B bits of a number, M places of a code word, S states, T steps, R places a step, P = 2^R what a step can emit.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.toolbox.heads import exact_products

TAPS = (0b1111001, 0b1011011)
"""The rate 1/2 code of constraint length 7 with free distance 10 (171 and 133 in octal)."""


def binary(numbers: Tensor, bits: int) -> Tensor:
    """The lowest `bits` bits of each number, most significant first, (..., B)."""
    return numbers.unsqueeze(-1) >> torch.arange(bits - 1, -1, -1, device=numbers.device) & 1


class Code(nn.Module):
    """V code words of M places each, as 0 and 1. A subclass knows how to sum over them and how to find the best without listing them."""

    words_VM: Tensor

    def __init__(self, size: int, words_VM: Tensor) -> None:
        super().__init__()
        self.size, self.places = size, words_VM.shape[1]
        self.bits = (size - 1).bit_length()
        self.limit = [int(bit) for bit in format(size, f"0{self.bits}b")] if size < 1 << self.bits else []
        """The bits of V; empty where every number of B bits stands for a token."""
        self.register_buffer("words_VM", words_VM.to(torch.int8), persistent=False)

    def scores(self, s_NM: Tensor) -> Tensor:
        """c_v s of every token, (N, V), in the type of s."""
        with exact_products(s_NM.device):
            return s_NM @ self.words_VM.to(s_NM.dtype).T

    def log_total(self, s_NM: Tensor) -> Tensor:
        """log Z of each row, (N,)."""
        raise NotImplementedError

    def best(self, s_NM: Tensor) -> Tensor:
        """The token with the highest score of each row, (N,)."""
        raise NotImplementedError


class PlainCode(Code):
    """c_v is v as a binary number: M = B."""

    def __init__(self, size: int) -> None:
        super().__init__(size, binary(torch.arange(size), (size - 1).bit_length()))

    def log_total(self, s_NM: Tensor) -> Tensor:
        return self._groups(s_NM, -F.logsigmoid(-s_NM)).logsumexp(dim=1)  # a free bit sums to 1 + exp(s)

    def best(self, s_NM: Tensor) -> Tensor:
        ones_NM = (s_NM > 0).long()
        if not self.limit:
            return _number(ones_NM)
        group_N = self._groups(s_NM, s_NM.clamp(min=0)).argmax(dim=1)
        limit_M = torch.tensor(self.limit, device=s_NM.device)
        branch_N1 = limit_M.nonzero().squeeze(1)[group_N].unsqueeze(1)
        place_M = torch.arange(self.places, device=s_NM.device)
        return _number(torch.where(place_M < branch_N1, limit_M, ones_NM * (place_M > branch_N1)))

    def _groups(self, s_NM: Tensor, free_NM: Tensor) -> Tensor:
        """The log weight of each group of numbers below V, (N, G); free: the log weight of a bit that is free."""
        if not self.limit:
            return free_NM.sum(dim=1, keepdim=True)
        fixed_NM = s_NM * torch.tensor(self.limit, dtype=s_NM.dtype, device=s_NM.device)
        above_NM = fixed_NM.cumsum(dim=1) - fixed_NM
        below_NM = free_NM.flip(1).cumsum(dim=1).flip(1) - free_NM
        branches = [t for t, bit in enumerate(self.limit) if bit]
        return (above_NM + below_NM)[:, branches]


def _number(bits_NB: Tensor) -> Tensor:
    """What `binary` wrote, (N,)."""
    power_B = 1 << torch.arange(bits_NB.shape[1] - 1, -1, -1, device=bits_NB.device)
    return (bits_NB * power_B).sum(dim=1)


class ConvolutionalCode(Code):
    """A shift register of K bits reads v and then K - 1 zeros; at each of the T = B + K - 1 steps each of R taps emits the parity of its bits.

    taps: R binary numbers; the highest bit of the widest stands for the bit just read. `best` is the Viterbi algorithm with soft inputs.
    """

    next_S2: Tensor
    emits_S2: Tensor
    patterns_PR: Tensor

    def __init__(self, size: int, taps: tuple[int, ...] = TAPS) -> None:
        bits, memory, rate = (size - 1).bit_length(), max(taps).bit_length() - 1, len(taps)
        register = [(state, state | 1 << memory) for state in range(1 << memory)]
        following = [[read >> 1 for read in pair] for pair in register]
        emits = [[sum(((read & tap).bit_count() & 1) << rate - 1 - r for r, tap in enumerate(taps)) for read in pair] for pair in register]
        next_S2, emits_S2 = torch.tensor(following), torch.tensor(emits)
        fed_VT = F.pad(binary(torch.arange(size), bits), (0, memory))
        state_V, words = torch.zeros(size, dtype=torch.int64), []
        for bit_V in fed_VT.unbind(1):
            words.append(binary(emits_S2[state_V, bit_V], rate))
            state_V = next_S2[state_V, bit_V]
        super().__init__(size, torch.cat(words, dim=1) if words else torch.zeros(size, 0))
        self.rate, self.steps, self.following, self.emits = rate, len(words), following, emits
        self.register_buffer("next_S2", next_S2, persistent=False)
        self.register_buffer("emits_S2", emits_S2, persistent=False)
        self.register_buffer("patterns_PR", binary(torch.arange(1 << rate), rate), persistent=False)

    def log_total(self, s_NM: Tensor) -> Tensor:
        weight_TPN = self._weights(s_NM)
        after = self._backward(weight_TPN, torch.logaddexp)
        return self._groups(weight_TPN, after).logsumexp(dim=0)

    def best(self, s_NM: Tensor) -> Tensor:
        weight_TPN = self._weights(s_NM)
        ones: list[Tensor] = []  # whether 1 is the better bit to read next, last step first, (S, N)

        def better(zero_SN: Tensor, one_SN: Tensor) -> Tensor:
            ones.append(one_SN > zero_SN)
            return torch.maximum(zero_SN, one_SN)

        after = self._backward(weight_TPN, better)
        group_N = self._groups(weight_TPN, after).argmax(dim=0)
        branches = torch.tensor([t for t, bit in enumerate(self.limit) if bit] or [-1], device=s_NM.device)
        branch_N = branches[group_N]
        state_N, number_N = torch.zeros_like(group_N), torch.zeros_like(group_N)
        for t, one_SN in enumerate(reversed(ones)):
            bit_N = one_SN.gather(0, state_N.unsqueeze(0)).squeeze(0).long()
            if self.limit:
                bit_N = torch.where(branch_N > t, self.limit[t], torch.where(branch_N == t, 0, bit_N))
            state_N, number_N = self.next_S2[state_N, bit_N], 2 * number_N + bit_N
        return number_N

    def _weights(self, s_NM: Tensor) -> Tensor:
        """The score of each pattern that a step can emit, (T, P, N)."""
        s_TRN = s_NM.T.reshape(self.steps, self.rate, len(s_NM))
        with exact_products(s_NM.device):
            return self.patterns_PR.to(s_NM.dtype) @ s_TRN

    def _backward(self, weight_TPN: Tensor, add: Callable[[Tensor, Tensor], Tensor]) -> list[Tensor]:
        """For each number of bits read, 0 to B: the log weight of all that can still be read, from each state, (S, N).

        `add` joins the ways of reading 0 and reading 1. The K - 1 zeros at the end lead from every state to state 0.
        """
        (zero_S, one_S), (emits_zero_S, emits_one_S) = self.next_S2.unbind(1), self.emits_S2.unbind(1)
        rest_SN = weight_TPN.new_zeros(len(zero_S), weight_TPN.shape[2])
        for t in range(self.steps - 1, self.bits - 1, -1):
            rest_SN = weight_TPN[t, emits_zero_S] + rest_SN[zero_S]
        after = [rest_SN]
        for t in range(self.bits - 1, -1, -1):
            rest_SN = add(weight_TPN[t, emits_zero_S] + rest_SN[zero_S], weight_TPN[t, emits_one_S] + rest_SN[one_S])
            after.append(rest_SN)
        return after[::-1]

    def _groups(self, weight_TPN: Tensor, after: list[Tensor]) -> Tensor:
        """The log weight of each group of numbers below V, (G, N)."""
        if not self.limit:
            return after[0][:1]
        groups, state, above_N = [], 0, torch.zeros_like(weight_TPN[0, 0])
        for t, bit in enumerate(self.limit):
            if bit:
                groups.append(above_N + weight_TPN[t, self.emits[state][0]] + after[t + 1][self.following[state][0]])
            above_N, state = above_N + weight_TPN[t, self.emits[state][bit]], self.following[state][bit]
        return torch.stack(groups)
