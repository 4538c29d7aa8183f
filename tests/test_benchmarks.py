"""What the benchmarks of the foundation told becomes a verdict for each reach."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import reaches
from tests.benchmarks.reaches import Figure, Reach, summary, tell, told, verdict

AT_MOST, AT_LEAST = Reach("a", "time", 30, "ms"), Reach("b", "ratio", 0.98, "x", least=True)


@pytest.mark.parametrize(
    ("reach", "figure", "expected"),
    [
        (AT_MOST, Figure(30), "reached"),
        (AT_MOST, Figure(30.1), "missed"),
        (AT_MOST, Figure(29, 28, 31), "unclear"),
        (AT_MOST, Figure(35, 31, 40), "missed"),
        (AT_LEAST, Figure(0.98), "reached"),
        (AT_LEAST, Figure(0.99, 0.981, 1.0), "reached"),
        (AT_LEAST, Figure(0.99, 0.97, 1.0), "unclear"),
        (AT_LEAST, Figure(0.95, 0.94, 0.96), "missed"),
        (AT_LEAST, None, "not measured"),
    ],
)
def test_a_figure_meets_its_reach_misses_it_or_leaves_it_open(reach: Reach, figure: Figure | None, expected: str) -> None:
    assert verdict(reach, figure) == expected


def test_what_is_told_stands_in_the_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "figures.jsonl"
    assert told(place) == {}
    tell("click_s", 2.5)  # Nobody listens.
    monkeypatch.setenv(reaches.FILE, str(place))
    tell("click_s", 2.5)
    tell("watched/1", 0.97, 0.96, 0.98)
    lines = summary(told(place)).splitlines()
    assert len(lines) == sum(map(len, reaches.FOUNDATION.values()))
    assert next(line for line in lines if "from the click" in line).split()[:4] == ["reached", "2.5", "<=", "3"]
    assert next(line for line in lines if "one torch thread" in line).startswith("unclear       0.97 [0.96, 0.98]")
    assert sum(line.startswith("not measured") for line in lines) == len(lines) - 2


def test_every_benchmark_of_the_foundation_is_there() -> None:
    folder = Path(reaches.__file__).parent
    assert all((folder / f"bench_{words[0]}.py").exists() for words in reaches.FOUNDATION)
