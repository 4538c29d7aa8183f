"""The long short-term memory, torch's fused one."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from engines.api import Block, Site, Slot, Trial, certificate, param
from engines.toolbox import trials

State = tuple[Tensor, Tensor]


class LSTM(Block):
    """Long short-term memory

    Hochreiter, Schmidhuber (1997), with the forget gate of Gers, Schmidhuber, Cummins (2000).

        i_t, f_t, o_t = sigmoid(W x_t + U h_(t-1) + b)                      (1)
        g_t = tanh(W_g x_t + U_g h_(t-1) + b_g)                             (2)
        c_t = f_t * c_(t-1) + i_t * g_t                                     (3)
        h_t = o_t * tanh(c_t)                                               (4)

    x_t (D), h_t and c_t (H), W (4H, D), U (4H, H). The state (h, c) of every layer is carried from segment to segment and detached there
    (truncated backpropagation through time); batch is its dimension 0.

    Cost: 8 H (D + H) floating point operations a token and layer; the T steps of a segment follow one another.
    Does nothing when: never; dropout does nothing with one layer, as it stands between layers.
    Parameters: width H (default: the incoming width), layers, dropout between layers.
    """

    paper: ClassVar[str] = "Hochreiter and Schmidhuber, Long short-term memory, Neural Computation 1997, https://doi.org/10.1162/neco.1997.9.8.1735"
    slot: ClassVar[Slot] = "mixer"

    width: int | None = param(None, "Hidden width; default: the incoming width.", symbol="H", ge=1, le=16384)
    layers: int = param(1, "Layers inside this block, run by one fused call.", ge=1, le=16)
    dropout: float = param(0.0, "Share of each layer's outputs that the next one does not see in training.", ge=0.0, lt=1.0)

    def build(self, site: Site) -> CarriedLSTM:
        return CarriedLSTM(site.width, self.width or site.width, self.layers, self.dropout)


class CarriedLSTM(nn.Module):
    """(x_BTD, state) -> (y_BTH, state), state = (h_BLH, c_BLH) with L layers."""

    def __init__(self, width_in: int, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        # torch warns about dropout without a second layer to apply it to
        self.lstm = nn.LSTM(width_in, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)

    def forward(self, x_BTD: Tensor, state: State | None) -> tuple[Tensor, State]:
        carried = None if state is None else tuple(part_BLH.transpose(0, 1).contiguous() for part_BLH in state)
        y_BTH, (h_LBH, c_LBH) = self.lstm(x_BTD, carried)
        return y_BTH, (h_LBH.transpose(0, 1), c_LBH.transpose(0, 1))


@certificate("the fused block equals equations (1) to (4) step by step, gradients included", 1e-5)
def equals_step_by_step(trial: Trial) -> float:
    with trials.seeded(trial):
        block = LSTM(width=trial.width).build(trials.site(trial))
        x_BTD = trials.hidden(trial)
        w, u, b_w, b_u = weights = list(block.lstm.parameters())
        h_BH = c_BH = torch.zeros(trial.batch, trial.width)
        steps = []
        for x_BD in x_BTD.unbind(1):
            i, f, g, o = (x_BD @ w.T + h_BH @ u.T + b_w + b_u).chunk(4, dim=-1)
            c_BH = f.sigmoid() * c_BH + i.sigmoid() * g.tanh()  # (3)
            h_BH = o.sigmoid() * c_BH.tanh()  # (4)
            steps.append(h_BH)
        return trials.difference(block(x_BTD, None)[0], torch.stack(steps, dim=1), [x_BTD, *weights])


@certificate("a sequence fed in pieces with the carried state equals the sequence fed at once", 1e-5)
def pieces_equal_whole(trial: Trial) -> float:
    with trials.seeded(trial):
        block = LSTM(layers=2).build(trials.site(trial))
        x_BTD = trials.hidden(trial)
        pieces = trials.in_pieces(block, x_BTD, trials.cut(trial.length))
        return trials.difference(pieces, block(x_BTD, None)[0], [x_BTD, *block.parameters()])
