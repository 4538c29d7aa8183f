"""Why a variant is faster, smaller or neither: sentences made of the figures of this comparison.

A rule is one function: it looks at figures, effects and what the engine recorded, never at names of techniques, and gives nothing where a
figure that it needs was not measured. Templates hold no digit: every number of a sentence stands among its figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from engines.case import Case
from engines.paperreasons import rounded_without_speed, where_sparse_pays, zeros_stored_densely, zeros_without_speed
from engines.phrases import Phrase
from engines.pricereasons import faster_steps_longer_way, memory_by_owner, price_of_finishing, price_of_others, quality_paid, within_noise
from engines.speedreasons import (
    few_against_many,
    fewer_operations,
    operations_not_counted,
    operations_not_the_limit,
    smaller_and_faster,
    smaller_but_slower,
    training_alone,
    waits_and_bounds,
    where_operations_changed,
    without_effect,
)

RULES: tuple[Callable[[Case], Iterator[Phrase]], ...] = (
    without_effect,
    zeros_without_speed,
    zeros_stored_densely,
    where_sparse_pays,
    rounded_without_speed,
    few_against_many,
    smaller_but_slower,
    smaller_and_faster,
    fewer_operations,
    operations_not_the_limit,
    operations_not_counted,
    where_operations_changed,
    training_alone,
    memory_by_owner,
    price_of_others,
    price_of_finishing,
    faster_steps_longer_way,
    within_noise,
    quality_paid,
    waits_and_bounds,
)
"""In the order in which they are told."""


def explanations(case: Case) -> list[Phrase]:
    """Every rule that this case bears out, in the order of RULES."""
    return [found for rule in RULES for found in rule(case)]
