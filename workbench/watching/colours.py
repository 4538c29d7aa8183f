"""Which colour the curves of a run have: that of its variant, or of its seed where there is one variant only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.plotting.mixing import mixed
from workbench.theme import Theme

if TYPE_CHECKING:
    from engines.store.rows import RunRow

SHADES = (("", 0.0), ("surface", 0.45), ("text", 0.4), ("surface", 0.65))
"""More curves than colours: the same colours again, towards the ground, towards the ink, and further towards the ground."""


def curve(theme: Theme, place: int) -> str:
    """The colour of the place-th curve; the first ones are the theme's, then shades of them."""
    turn, colour = place // len(theme.series) % len(SHADES), theme.curve(place)
    towards, share = SHADES[turn]
    return colour if not towards else mixed(colour, getattr(theme, towards), share)


def by_run(theme: Theme, variants: Sequence[str], runs: Sequence[RunRow]) -> dict[int, str]:
    """{run: colour}. variants: names in the order of the experiment."""
    if len({run.variant for run in runs}) == 1 and len(runs) > 1:
        return {run.id: curve(theme, place) for place, run in enumerate(runs)}
    places = {name: place for place, name in enumerate(variants)}
    made = {name: curve(theme, place) for name, place in places.items()}
    return {run.id: made.get(run.variant) or curve(theme, len(places)) for run in runs}


def names(runs: Sequence[RunRow]) -> dict[int, str]:
    """{run: what its curve is called}: the variant, with the seed where there are several."""
    several = len({run.seed for run in runs}) > 1
    return {run.id: f"{run.variant} #{run.seed}" if several else run.variant for run in runs}
