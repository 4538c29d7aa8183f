"""What distillation techniques share: distributions of two models over one vocabulary, and how far apart they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from engines.toolbox.batches import Batch
from engines.toolbox.heads import IGNORED

TEACHER = "Finished model that teaches, with the same vocabulary: a variant, a run (run:12), or the path of an exported model."


def divergence(log_p_NV: torch.Tensor, log_q_NV: torch.Tensor, temperature: float = 1.0, target_N: torch.Tensor | None = None) -> torch.Tensor:
    """sum_N KL(p_T || q_T) in nats, p_T = softmax(log p / T), q_T alike; rows whose target is ignored count nothing.

    A sum over rows, not torch's mean, which would divide by the number of words as well.
    """
    log_p_NV, log_q_NV = (F.log_softmax(log_NV / temperature, dim=-1) for log_NV in (log_p_NV, log_q_NV))
    kl_N = F.kl_div(log_q_NV, log_p_NV, reduction="none", log_target=True).sum(-1)
    return (kl_N if target_N is None else kl_N.masked_fill(target_N == IGNORED, 0.0)).sum()


def log_prob_of(model: nn.Module, hidden_ND: torch.Tensor) -> torch.Tensor:
    """log p of every word, (N, V), at least float32, on the student's device whatever the model's own."""
    head: Any = model.head
    weight = next((p for p in (*head.parameters(), *model.parameters()) if p.is_floating_point()), hidden_ND)
    # Under autocast hidden states are 16-bit; the head outside of it is not.
    log_prob_NV: torch.Tensor = head.log_prob(hidden_ND if torch.is_autocast_enabled(hidden_ND.device.type) else hidden_ND.to(weight.dtype))
    return log_prob_NV.float() if log_prob_NV.dtype in (torch.float16, torch.bfloat16) else log_prob_NV


def vocabulary_of(model: nn.Module) -> int | None:
    """Number of words that a model's head tells apart; None where it does not say."""
    return getattr(model.head, "vocabulary_size", None)


def check_pair(technique: str, name: str, teacher: nn.Module, student: nn.Module, *, distribution: bool = True) -> None:
    """Refuse, with a ValueError, a teacher called `name` and a student with unlike vocabularies or, where asked, a head without distribution."""
    for role, model in (("teacher", teacher), ("student", student)):
        head = getattr(model, "head", None)
        if distribution and not (getattr(head, "normalised", False) and hasattr(head, "log_prob")):
            raise ValueError(
                f"{technique} needs a distribution over words for soft labels, but the head of the {role} has none: choose another head, or "
                "leave soft labels out where the technique can."
            )
    words, own = vocabulary_of(teacher), vocabulary_of(student)
    if words is not None and own is not None and words != own:
        raise ValueError(
            f'The teacher "{name}" knows {words:,} words and this variant {own:,}: both need one vocabulary. Give them the same corpus settings.'
        )


def taught(loss_of: Callable[..., Any], student: nn.Module, teacher: Any, weight: float, temperature: float) -> Callable[..., Any]:
    """(batch, state) -> (loss_sum, count, state, extras) with (1 - weight) loss + weight T^2 sum_N KL(teacher || student), T the temperature.

    state = {"student": ..., "teacher": ...}: the teacher reads the same text with a state of its own, reset with the student's.
    """

    def loss(batch: Batch, state: Any) -> tuple[torch.Tensor, int, Any, dict[str, Any]]:
        own, theirs = (None, None) if state is None else (state["student"], state["teacher"])
        loss_sum, count, own, extras = loss_of(batch, own)
        with torch.no_grad():
            hidden_BTD, theirs, _ = teacher.hidden(batch.inputs_BT, None if batch.fresh else theirs)
            log_p_NV = log_prob_of(teacher, hidden_BTD.flatten(0, 1))
        log_q_NV = log_prob_of(student, extras["hidden_ND"])
        soft = temperature**2 * divergence(log_p_NV, log_q_NV, temperature, extras["target_N"])
        return (1 - weight) * loss_sum + weight * soft, count, {"student": own, "teacher": theirs}, extras

    return loss
