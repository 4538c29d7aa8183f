"""Names of dots: they keep clear of each other and of other dots, and stay inside."""

from __future__ import annotations

import random

from workbench.comparing import names

FRAME = (600.0, 300.0)


def test_a_name_alone_stands_above_its_dot() -> None:
    ((left, top, right, bottom),) = names.place([(300, 150, 20)], [(60, 16)], FRAME)
    assert (left + right) / 2 == 300
    assert bottom < 140
    assert bottom - top == 16


def test_at_the_upper_edge_it_stands_below() -> None:
    ((_left, top, _right, bottom),) = names.place([(300, 12, 20)], [(60, 16)], FRAME)
    assert top > 22
    assert bottom <= FRAME[1]


def test_near_dots_have_names_that_do_not_overlap() -> None:
    dots = [(300.0, 150.0, 20.0), (312.0, 152.0, 20.0), (306.0, 160.0, 20.0)]
    boxes = names.place(dots, [(90, 16)] * 3, FRAME)
    assert all(names._shared(boxes[a], boxes[b]) == 0 for a in range(3) for b in range(a))


def test_a_crowd_is_placed_too() -> None:
    order = random.Random(0)
    dots = [(order.uniform(0, 600), order.uniform(0, 300), 20.0) for _ in range(40)]
    assert len(names.place(dots, [(80, 16)] * 40, FRAME)) == 40
