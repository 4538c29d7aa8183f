"""Hierarchical softmax: a token is reached by left or right turns down a binary tree."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor, nn

from engines.api import Block, Site, Slot, Trial, certificate, param
from engines.toolbox import trees, trials
from engines.toolbox.clusters import directions, frequency_order
from engines.toolbox.heads import IGNORED, NormalisedHead, target_counts
from engines.toolbox.precise import at_least_float32
from engines.toolbox.row_products import row_products

TreeKind = Literal["huffman", "balanced", "random", "semantic"]


class Hierarchical(Block):
    """Hierarchical softmax

    Morin, Bengio (2005), Hierarchical probabilistic neural network language model; Huffman's tree: Mikolov, Chen, Corrado, Dean (2013).

        p(y | h) = prod over the nodes n on the path to y of sigma(d_n(y) (v_n h + b_n))          (1)
        d_n(y) = 1 where y lies to the left of n, else -1                                         (2)
        entropy <= mean path of a Huffman tree < entropy + 1, in bits of the training text        (3)

    h (D), v_n (D) and b_n one of each of the V - 1 inner nodes. sigma(s) + sigma(-s) = 1 at every node, so (1) sums to 1 over the leaves and
    the perplexity is exact. b_n starts at the log odds of the training text, so an untrained head is the unigram model.
    tree = huffman: shortest mean path; neighbours have frequency in common and nothing else.
    tree = balanced: halves of the list sorted by frequency, every path log2 V long.
    tree = random: halves of a shuffled list.
    tree = semantic: similar tokens under the same nodes, from `vectors`, every part cut in the middle of its frequency across the direction in
    which its vectors vary most.

    Cost: 2 D floating point operations a node on the path forward, and as many rows gathered: reading memory, not arithmetic, sets its speed.
    All V log probabilities (sampling, topk) need all V - 1 nodes, taken level by level: there a tree saves nothing. Half a tree is no softmax:
    the choice of the tree moves the perplexity.
    Does nothing when: never; with V = 2 it is logistic regression. `vectors` does nothing unless tree = semantic.
    Parameters: tree, vectors, bias, sparse.
    """

    paper: ClassVar[str] = (
        "Morin and Bengio, Hierarchical probabilistic neural network language model, AISTATS 2005, https://proceedings.mlr.press/r5/morin05a.html"
    )
    slot: ClassVar[Slot] = "head"

    tree: TreeKind = param("huffman", "What the tree is made of: frequencies, halves, chance, or vectors that describe the tokens.")
    vectors: Path | None = param(
        None, "File of word vectors, or folder of a finished model; for tree = semantic.", path=True
    )
    bias: bool = param(True, "Add one number to the score of each node, which starts at the log odds of its two sides.", symbol="b")
    sparse: bool = param(False, "Hand out sparse row gradients of the nodes (for optimisers that take them, such as plain SGD).")

    @model_validator(mode="after")
    def _vectors_for_semantic(self) -> Hierarchical:
        if (self.tree == "semantic") != (self.vectors is not None):
            raise ValueError("tree = semantic and vectors belong together: name a file of vectors, or take another tree and leave vectors out.")
        return self

    def build(self, site: Site) -> TreeSoftmax:
        counts, size = site.vocabulary.counts, site.vocabulary.size
        if size < 2:
            raise ValueError(f"A tree needs at least 2 tokens, but the vocabulary has {size}.")
        if self.vectors is not None:
            tree = trees.semantic(directions(self.vectors, site.vocabulary), np.maximum(counts, 1))
        elif self.tree == "huffman":
            tree = trees.huffman(np.maximum(counts, 1))
        else:
            tree = trees.bisected(frequency_order(counts) if self.tree == "balanced" else np.random.default_rng(0).permutation(size))
        return TreeSoftmax(site, tree, bias=self.bias, sparse=self.sparse, kept=self.tree == "semantic")


class TreeSoftmax(NormalisedHead):
    """nodes: row n is v_n. children: the tree, part of the saved model where it cannot be made again from frequencies (`kept`)."""

    def __init__(self, site: Site, tree: trees.Tree, *, bias: bool, sparse: bool, kept: bool) -> None:
        super().__init__(tree.size)
        self.nodes = nn.Embedding(tree.size - 1, site.width, sparse=sparse)
        nn.init.uniform_(self.nodes.weight, -(site.width**-0.5), site.width**-0.5)
        self.bias = nn.Parameter(torch.as_tensor(log_odds(tree, target_counts(site)), dtype=torch.get_default_dtype())) if bias else None
        self.children_T2: Tensor
        self.register_buffer("children_T2", torch.as_tensor(tree.children), persistent=kept)
        self.begin_V: Tensor
        self.length_V: Tensor
        self.node_P: Tensor
        self.left_P: Tensor
        self.inner_at: Tensor
        self.leaf_at: Tensor
        self.leaf_of_V: Tensor
        for name, values in self._derived(tree).items():
            self.register_buffer(name, torch.as_tensor(values), persistent=False)
        self.register_load_state_dict_post_hook(_follow_the_loaded_tree)

    def _derived(self, tree: trees.Tree) -> dict[str, np.ndarray]:
        """What the tree is read by: paths for single tokens, places within each level for all of them."""
        paths, flat = tree.paths(), tree.children.flatten()
        self.levels = tree.levels()
        self.longest = int(paths.length_V.max())
        first = np.repeat([2 * low for low, _ in self.levels], [2 * (high - low) for low, high in self.levels])
        place = np.arange(len(flat)) - first
        self.inner_sizes = [int((flat[2 * low : 2 * high] >= 0).sum()) for low, high in self.levels]
        return {
            "begin_V": paths.begin_V, "length_V": paths.length_V, "node_P": paths.node_P.astype(np.int32), "left_P": paths.sign_P > 0,
            "inner_at": place[flat >= 0], "leaf_at": place[flat < 0], "leaf_of_V": np.argsort(-1 - flat[flat < 0]),
        }  # fmt: skip

    def loss(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        _, cost_P = self._costs(hidden_ND, target_N)
        return cost_P.sum()

    def nll(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        parts = []
        for hidden, target in self.chunks(hidden_ND, target_N, columns=self.longest * hidden_ND.shape[1]):
            row_P, cost_P = self._costs(hidden, target)
            parts.append(cost_P.new_zeros(len(target)).index_add(0, row_P, cost_P))
        return torch.cat(parts)

    def _costs(self, hidden_ND: Tensor, target_N: Tensor) -> tuple[Tensor, Tensor]:
        """Row and -log probability of every turn towards the targets, both (P,): paths one after the other, none where the target is ignored."""
        ignored_N = target_N == IGNORED
        y_N = target_N.masked_fill(ignored_N, 0)
        length_N = self.length_V[y_N].masked_fill(ignored_N, 0)
        row_P, step_P = (torch.arange(self.longest, device=y_N.device) < length_N.unsqueeze(1)).nonzero(as_tuple=True)
        place_P = self.begin_V[y_N][row_P] + step_P
        node_P = self.node_P[place_P]
        s_P = row_products(hidden_ND[row_P], self.nodes(node_P))
        if self.bias is not None:
            s_P = s_P + self.bias[node_P]
        s_P = at_least_float32(s_P)
        return row_P, F.softplus(torch.where(self.left_P[place_P], -s_P, s_P))  # (1), (2)

    def log_prob_rows(self, hidden_ND: Tensor) -> Tensor:
        s_NT = at_least_float32(F.linear(hidden_ND, self.nodes.weight, self.bias))
        turn_NT2 = torch.stack((F.logsigmoid(s_NT), F.logsigmoid(-s_NT)), dim=2)
        inner = self.inner_at.split(self.inner_sizes)
        leaf = self.leaf_at.split([2 * (high - low) - n for (low, high), n in zip(self.levels, self.inner_sizes, strict=True)])
        above_Nn, leaves = s_NT.new_zeros(len(s_NT), 1), []
        for (low, high), inner_at, leaf_at in zip(self.levels, inner, leaf, strict=True):
            below_Nm = (above_Nn.unsqueeze(2) + turn_NT2[:, low:high]).flatten(1)
            leaves.append(below_Nm[:, leaf_at])
            above_Nn = below_Nm[:, inner_at]
        return torch.cat(leaves, dim=1)[:, self.leaf_of_V]


def log_odds(tree: trees.Tree, counts: np.ndarray) -> np.ndarray:
    """log of the left over the right share of the training text below each inner node, (V - 1,); one added to each count."""
    below = np.zeros((tree.size - 1, 2))
    weight = np.asarray(counts, dtype=np.float64) + 1.0
    for low, high in reversed(tree.levels()):
        child = tree.children[low:high]
        below[low:high] = np.where(child < 0, weight[np.maximum(-1 - child, 0)], below[np.maximum(child, 0)].sum(axis=2))
    odds: np.ndarray = np.log(below[:, 0]) - np.log(below[:, 1])
    return odds


def _follow_the_loaded_tree(module: Any, _: Any) -> None:
    """Read paths and levels anew where the tree came with the weights."""
    if "children_T2" in module.state_dict() and not module.children_T2.is_meta:
        for name, values in module._derived(trees.Tree(module.children_T2.cpu().numpy())).items():
            setattr(module, name, torch.as_tensor(values, device=module.children_T2.device))


@certificate("nll equals the explicit product of turns down the tree, gradients included", 1e-5)
def equals_definition(trial: Trial) -> float:
    with trials.seeded(trial):
        head: Any = Hierarchical().build(trials.site(trial))
        h_ND = trials.hidden(trial).flatten(0, 1)
        y_N = torch.randint(trial.vocabulary, (len(h_ND),))
        turns: dict[int, list[tuple[int, float]]] = {}
        way: list[tuple[int, list[tuple[int, float]]]] = [(0, [])]
        for node, path in way:  # grows while it is read
            for child, sign in zip(head.children_T2[node].tolist(), (1.0, -1.0), strict=True):
                if child < 0:
                    turns[-1 - child] = [*path, (node, sign)]
                else:
                    way.append((child, [*path, (node, sign)]))
        nll = []
        for h_D, y in zip(h_ND, y_N.tolist(), strict=True):
            nodes, signs = zip(*turns[y], strict=True)
            s_L = head.nodes.weight[list(nodes)] @ h_D + head.bias[list(nodes)]
            nll.append(-torch.sigmoid(torch.tensor(signs) * s_L).prod().log())
        wanted = [h_ND, *head.parameters()]
        by_loss = trials.difference(head.loss(h_ND, y_N), torch.stack(nll).sum(), wanted)
        return max(by_loss, trials.difference(head.nll(h_ND, y_N), torch.stack(nll), wanted))


@certificate("probabilities of all leaves sum to 1, and those of the targets are what nll says", 1e-5)
def sums_to_one(trial: Trial) -> float:
    with trials.seeded(trial):
        worst = 0.0
        kinds: tuple[TreeKind, ...] = ("huffman", "balanced", "random")
        for kind in kinds:
            head: Any = Hierarchical(tree=kind).build(trials.site(trial))
            h_ND = trials.hidden(trial).flatten(0, 1)
            y_N = torch.randint(trial.vocabulary, (len(h_ND),))
            log_p_NV = head.log_prob(h_ND)
            total_N = log_p_NV.exp().sum(dim=1)
            picked_N = -log_p_NV.gather(1, y_N[:, None]).squeeze(1)
            worst = max(worst, trials.relative_error(total_N, torch.ones_like(total_N)), trials.relative_error(head.nll(h_ND, y_N), picked_N))
        return worst


@certificate("a Huffman tree's mean path lies between the entropy and the entropy plus 1", 0.0)
def huffman_bounds(trial: Trial) -> float:
    counts = trials.zipf_vocabulary(max(2, trial.vocabulary)).counts
    mean, entropy = trees.mean_length(trees.huffman(counts), counts), trees.entropy_bits(counts)
    return max(0.0, entropy - mean, mean - entropy - 1)
