"""What programs of the engine say is told from what libraries print beside it."""

from __future__ import annotations

import pytest

from engines.hearing import last_said


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ('{"a": 1}\n', {"a": 1}),
        ('loading\n{"a": 1}\n{"b": 2}\n', {"b": 2}),
        ('{"a": 1}\nbye\n3\n[1]\n', {"a": 1}),
        ("nothing of ours\n", {}),
        ("", {}),
    ],
)
def test_the_last_line_of_json_counts(out: str, said: dict[str, int]) -> None:
    assert last_said(out) == said
