"""The linear classifier of texts: tf-idf of short sequences of tokens, fitted by scikit-learn, scored by torch.

Equations (1) to (3) are those of `plugins.baselines.linear`. Shapes: B texts, T tokens of the longest, N training texts, F grams, K classes, M
grams found in a batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from engines import extras
from engines.toolbox.growing import Growing

UNSEEN = -30.0
"""Score of a class that no text of the training had."""


def unavailable() -> str:
    """Why it cannot be fitted here, as a sentence that says what to type; the empty string where it can."""
    lacking = extras.missing(extras.BASELINES)
    return f"The linear classifier is fitted by scikit-learn, not installed here: {extras.advice(lacking)}." if lacking else ""


class LinearModel(Growing):
    """Scores (B, K) of texts. What it knows are buffers that `fit` or a state_dict brings: keys_F rising, inverse_F (1), weight_FK, offset_K."""

    keys_F: Tensor
    inverse_F: Tensor
    weight_FK: Tensor
    offset_K: Tensor

    def __init__(self, size: int, classes: int, *, longest: int, strength: float, min_texts: int) -> None:
        super().__init__()
        self.longest, self.strength, self.min_texts, self.base = longest, strength, min_texts, size + 1
        if self.base**longest >= 2**63:
            raise ValueError(
                f"The linear classifier numbers grams of {longest} among {size:,} tokens, more than 64 bits hold: lower longest or max_vocabulary."
            )
        self.register_buffer("keys_F", torch.empty(0, dtype=torch.int64))
        self.register_buffer("inverse_F", torch.empty(0))
        self.register_buffer("weight_FK", torch.empty(0, classes))
        self.register_buffer("offset_K", torch.zeros(classes))

    def fit(self, texts: Sequence[np.ndarray], label_N: np.ndarray) -> str:
        """Learn from texts (token ids) and the numbers of their classes; returns what was found, in a sentence. What was learned is forgotten."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        words = TfidfVectorizer(analyzer=self._grams, min_df=self.min_texts, sublinear_tf=True)
        x_NF = words.fit_transform(texts)  # (1), of length 1
        seen, classes = np.unique(label_N), len(self.offset_K)
        weight_KF, offset_K = np.zeros((classes, x_NF.shape[1])), np.full(classes, UNSEEN)
        offset_K[seen] = 0.0
        if len(seen) > 1:
            found = LogisticRegression(C=self.strength, max_iter=1000).fit(x_NF, label_N)  # (3)
            # Of two classes scikit-learn keeps the second one's scores against the first.
            rows = seen[1:] if len(seen) == 2 else seen
            weight_KF[rows], offset_K[rows] = found.coef_, found.intercept_
        device, dtype = self.offset_K.device, self.offset_K.dtype
        self.keys_F = torch.from_numpy(words.get_feature_names_out().astype(np.int64)).to(device)
        self.inverse_F = torch.from_numpy(words.idf_).to(device, dtype)
        self.weight_FK = torch.from_numpy(weight_KF.T.copy()).to(device, dtype)
        self.offset_K = torch.from_numpy(offset_K).to(device, dtype)
        missing = f" {classes - len(seen)} classes had no text." if len(seen) < classes else ""
        return f"Fitted weights of {len(self.keys_F):,} grams of 1 to {self.longest} tokens.{missing}"

    def _grams(self, ids_T: np.ndarray) -> list[int]:
        """The number of every gram of a text: its tokens, plus one, as digits."""
        digit_T = np.asarray(ids_T, dtype=np.int64) + 1
        found, key_T = digit_T.tolist(), digit_T
        for n in range(1, self.longest):
            key_T = key_T[:-1] * self.base + digit_T[n:]
            found += key_T.tolist()
        return found

    def forward(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """s, (B, K). mask_BT: True where there is a token; tokens stand at the beginning of a row."""
        if not len(self.keys_F):
            return self.offset_K.expand(len(ids_BT), -1)
        size = len(self.keys_F)
        digit_BT = torch.where(mask_BT, ids_BT + 1, 0)
        key_BT, entries = digit_BT, []
        for n in range(self.longest):
            if n:
                key_BT = key_BT[:, :-1] * self.base + digit_BT[:, n:]
            place_BT = torch.searchsorted(self.keys_F, key_BT.contiguous()).clamp(max=size - 1)
            row_M, at_M = ((self.keys_F[place_BT] == key_BT) & mask_BT[:, n:]).nonzero(as_tuple=True)
            entries.append(row_M * size + place_BT[row_M, at_M])
        entry_M, count_M = torch.cat(entries).unique(return_counts=True)
        row_M, gram_M = entry_M // size, entry_M % size
        x_M = (1 + count_M.to(self.inverse_F.dtype).log()) * self.inverse_F[gram_M]  # (1)
        length_B = x_M.new_zeros(len(ids_BT)).index_add(0, row_M, x_M.square()).sqrt()
        score_BK = x_M.new_zeros(len(ids_BT), len(self.offset_K)).index_add(0, row_M, x_M[:, None] * self.weight_FK[gram_M])
        return score_BK / length_B.clamp(min=1e-12)[:, None] + self.offset_K  # (2)
