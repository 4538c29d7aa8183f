"""Where the names of dots stand: beside their dot, on the first side where they cover neither another name nor another dot."""

from __future__ import annotations

from collections.abc import Sequence

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels; y grows downwards."""
GAP = 3.0


def place(dots: Sequence[tuple[float, float, float]], extents: Sequence[tuple[float, float]], frame: tuple[float, float]) -> list[Box]:
    """Boxes for the names of dots.

    dots: (x, y, diameter) of each, in pixels; extents: (width, height) of each name; frame: width and height of the plot, which names do not
    leave where they can help it. Sides are tried in the order above, below, right, left; where all are taken, the least covered one is used.
    """
    rings = [_around(x, y, size, size) for x, y, size in dots]
    taken: list[Box] = []
    for number, ((x, y, size), (width, height)) in enumerate(zip(dots, extents, strict=True)):
        away = size / 2 + GAP
        sides = [
            _around(x, y - away - height / 2, width, height),
            _around(x, y + away + height / 2, width, height),
            _around(x + away + width / 2, y, width, height),
            _around(x - away - width / 2, y, width, height),
        ]
        others = taken + rings[:number] + rings[number + 1 :]
        taken.append(min(sides, key=lambda side: sum(_shared(side, other) for other in others) + _outside(side, frame)))
    return taken


def _around(x: float, y: float, width: float, height: float) -> Box:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _shared(one: Box, other: Box) -> float:
    """Pixels that two boxes share."""
    return max(0.0, min(one[2], other[2]) - max(one[0], other[0])) * max(0.0, min(one[3], other[3]) - max(one[1], other[1]))


def _outside(box: Box, frame: tuple[float, float]) -> float:
    """Pixels of a box outside the frame, which weigh twice: what is cut off cannot be read at all."""
    area = (box[2] - box[0]) * (box[3] - box[1])
    return 2 * (area - _shared(box, (0.0, 0.0, *frame)))
