"""Plots of curves: what is drawn when they move, grow and are smoothed; what is read off; what is exported."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QImage
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from engines.store.rows import Curve, SeriesRow
from workbench.plots import CurvePlot
from workbench.plotting import exporting
from workbench.theme import theme
from workbench.watching import clocks
from workbench.watching.held import Held

RED, BLUE = "#ff0000", "#0000ff"


@pytest.fixture
def plot(qtbot: QtBot) -> Iterator[CurvePlot]:
    made = CurvePlot("Training loss", "nats/token", theme("light"))
    qtbot.addWidget(made)
    made.resize(640, 360)
    made.show()
    yield made
    made.close_down()


def noise(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    x = np.arange(count, dtype=float)
    return x, 5 + np.sin(x / count * 30) + np.random.default_rng(seed).normal(size=count)


def picture(plot: CurvePlot) -> np.ndarray:
    """What the layer shows, as (height, width, 3)."""
    plot.finish()
    shown = plot._layer._shown
    assert shown is not None
    image = shown.pixels.toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : image.width() * 3].reshape(image.height(), image.width(), 3).copy()


def drawn_anew(plot: CurvePlot) -> np.ndarray:
    plot._anew = True
    return picture(plot)


def coloured(pixels: np.ndarray, colour: str) -> np.ndarray:
    red, green, blue = (int(colour[n : n + 2], 16) for n in (1, 3, 5))
    return (pixels == np.array([red, green, blue])).all(axis=2)


@pytest.mark.parametrize("count", [400, 50_000], ids=["lines", "columns"])
def test_panning_draws_strips_that_are_what_a_new_picture_would_be(plot: CurvePlot, count: int) -> None:
    for key, colour in enumerate((RED, BLUE)):
        plot.set_curve(key, colour, colour, *noise(count, key))
    plot.redraw()
    plot.show_range(0.2 * count, 0.6 * count)
    picture(plot)
    pictures, step = plot._layer.pictures, 0.4 * count / plot._layer._shown.pixels.width()  # type: ignore[union-attr]
    plot.frame.y_is_chosen = True  # Another height would be another scale.
    for moved in (10, 25, -40, 7):
        start = plot.view()[0] + moved * step
        plot.show_range(start, start + 0.4 * count)
        plot.redraw()
    moved_picture = picture(plot)
    assert plot._layer.pictures == pictures
    assert plot._layer.strips == 4
    different = (moved_picture != drawn_anew(plot)).any(axis=2)
    assert coloured(moved_picture, RED).any()
    assert different.mean() < 0.004  # Where strips meet, lines between distant points may begin half a pixel apart.


def test_points_that_are_added_are_drawn_on_the_picture(plot: CurvePlot) -> None:
    x, y = noise(20_000)
    plot.frame.extent = (0.0, 30_000.0)
    plot.set_curve(1, "a", RED, x, y)
    picture(plot)
    pictures = plot._layer.pictures
    longer, more = np.arange(25_000.0), np.concatenate([y, noise(5_000, 3)[1] * 0 + 5])
    plot.set_curve(1, "a", RED, longer, more)
    grown = picture(plot)
    assert plot._layer.pictures == pictures
    assert (grown != drawn_anew(plot)).any(axis=2).mean() < 0.002
    plot.set_curve(1, "a", RED, x, y * 2)
    plot.finish()
    assert plot._layer.pictures > pictures + 1, "a curve that took another course is drawn anew"


@pytest.mark.parametrize("spike", [777, 49_999])
def test_a_spike_stays_visible_behind_the_smoothed_curve(plot: CurvePlot, spike: int) -> None:
    held = Held(SeriesRow(1, 1, "train/loss", "", "lower", 50_000, 0, 0.0, 0.0))
    x, y = np.arange(50_000.0), np.full(50_000, 5.0)
    y[spike] = 60.0
    held.points.append(x, x, y)
    low, high, raw = held.values(200.0)
    assert raw is not None
    assert max(low.max(), high.max()) < 6
    plot.set_curve(1, "a", RED, x, low, high, raw=raw)
    seen = coloured(picture(plot), plot.lines[0].faint)
    assert plot.view()[3] > 60
    column = int((spike - plot.view()[0]) / (plot.view()[1] - plot.view()[0]) * seen.shape[1])
    assert seen[:, max(0, column - 1) : column + 2].any(axis=1).sum() > 0.8 * seen.shape[0]


def test_smoothing_of_a_reduced_curve_goes_through_the_middle_of_its_bins() -> None:
    held = Held(SeriesRow(1, 1, "train/loss", "", "lower", 1000, 0, 0.0, 0.0))
    bins = np.arange(100.0)
    held.history = Curve(bins * 10, bins * 10 + 9, np.full(100, 4.0), np.full(100, 8.0), np.zeros(100, dtype=np.int64), 1000, exact=False)
    held.points.append(np.array([1000.0]), np.array([0.0]), np.array([6.0]))
    low, high, raw = held.values(20.0)
    assert raw is not None
    np.testing.assert_allclose(low, 6.0)
    assert (raw[0].min(), raw[1].max(), len(low), low is high) == (4.0, 8.0, 101, True)
    assert held.reduced


def test_the_label_tells_the_value_of_each_run_at_a_real_point(plot: CurvePlot) -> None:
    x = np.arange(0.0, 1000.0, 10)
    plot.set_curve(1, "full", RED, x, np.full(100, 3.0))
    plot.set_curve(2, "adaptive", BLUE, x, x / 100)
    plot.finish()
    told: list[float] = []
    plot.pointed.connect(told.append)
    plot.pointed.connect(plot.point_at)
    viewport = plot._canvas.viewport()
    QTest.mouseMove(viewport, QPoint(viewport.width() // 2, viewport.height() // 2))
    assert told
    at = 10 * round(told[-1] / 10)
    assert f"steps {at}" in plot.readout
    assert f"{at / 100:g}" in plot.readout
    assert plot.readout.count("■") == 2
    plot._crosshair.pointer = None
    plot.point_at(503.0)
    assert plot.readout == ""
    assert plot.head.caption.text() == "steps 500:  3 to 5 nats/token"
    plot.point_at(float("nan"))
    assert plot.head.caption.text() == "nats/token over steps"


def test_a_hundred_curves_have_one_label_of_the_nearest(plot: CurvePlot) -> None:
    for key in range(100):
        plot.set_curve(key, f"run {key}", RED, np.arange(10.0), np.full(10, float(key)))
    plot.finish()
    plot.pointed.connect(plot.point_at)
    viewport = plot._canvas.viewport()
    QTest.mouseMove(viewport, QPoint(viewport.width() // 3, viewport.height() // 3))
    assert plot.readout.count("■") == 10
    assert "and 90 more" in plot.readout


def test_logarithmic_axes_leave_out_what_has_no_logarithm(plot: CurvePlot) -> None:
    plot.set_scales(log_x=True, log_y=True)
    plot.set_curve(1, "a", RED, np.array([0.0, 1.0, 10.0, 100.0]), np.array([5.0, 100.0, 0.0, 1.0]))
    plot.finish()
    front = plot.lines[0].front
    assert front.x.tolist() == [0.0, 1.0, 2.0]
    np.testing.assert_array_equal(front.low, [2.0, np.nan, 0.0])
    plot.point_at(0.1)
    assert plot.head.caption.text() == "steps 1:  100 nats/token"
    assert plot.axes.items["left"].tickStrings([2.0], 1.0, 1.0) == ["100"]


def test_a_wheel_zooms_x_and_a_double_click_shows_everything(plot: CurvePlot, qtbot: QtBot) -> None:
    plot.set_curve(1, "a", RED, *noise(1000))
    plot.finish()
    whole = plot.view()
    plot._box.scaleBy(x=0.5)
    plot._box.sigRangeChangedManually.emit([True, False])
    plot._moved()
    plot.finish()
    assert plot.view()[1] - plot.view()[0] < 0.6 * (whole[1] - whole[0])
    viewport = plot._canvas.viewport()
    for act in (QTest.mouseDClick, QTest.mouseRelease):
        act(viewport, Qt.MouseButton.LeftButton, pos=QPoint(viewport.width() // 2, viewport.height() // 2))
    qtbot.waitUntil(lambda: plot.view()[:2] == pytest.approx(whole[:2]))


def test_a_plot_is_exported_as_picture_and_as_points(plot: CurvePlot, tmp_path: Path) -> None:
    x, y = noise(5000)
    plot.set_curve(1, "äöü <full>", RED, x, y)
    plot.finish()
    for form in exporting.FORMS:
        exporting.write(plot, form, tmp_path / f"out.{form}")
    text = (tmp_path / "out.svg").read_text(encoding="utf-8")
    assert "äöü &lt;full&gt;" in text
    assert "Training loss" in text
    assert len(text) < 60_000
    table = list(csv.reader(io.StringIO((tmp_path / "out.csv").read_text(encoding="utf-8"))))
    assert table[0] == ["curve", "steps", "Training loss low", "Training loss high"]
    assert len(table) == 5001
    assert [float(each) for each in table[3][1:]] == [2.0, y[2], y[2]]
    image = QImage(str(tmp_path / "out.png"))
    assert image.width() == exporting.SCALE * plot.width()
    paper = (tmp_path / "out.pdf").read_bytes()
    assert paper.startswith(b"%PDF-")
    assert b"/Subtype /Image" not in paper  # Lines and letters, no bitmap.
    assert len(paper) < 200_000


def test_a_picture_of_a_part_holds_nothing_beside_it(plot: CurvePlot) -> None:
    plot.set_curve(1, "a", RED, np.arange(100.0), np.where(np.arange(100) % 2, 1000.0, -1000.0))
    plot.finish()
    plot._box.setRange(xRange=(20.0, 40.0), yRange=(-10.0, 10.0), padding=0)
    found = [shape.attributes["d"] for shape in exporting.picture(plot, {}).shapes if shape.element == "path"]
    numbers = [float(each) for data in found for each in re.findall(r"-?\d+(?:\.\d+)?", data)]
    assert len(numbers) > 40
    assert all(exporting.LEFT <= x <= exporting.WIDTH - exporting.RIGHT for x in numbers[::2])
    assert all(exporting.TOP <= y <= exporting.HEIGHT - exporting.BOTTOM for y in numbers[1::2])


def test_the_clock_of_training_leaves_out_what_was_no_training() -> None:
    """1,000 tokens each 10 steps; trained at 500, then 250 tokens a second; a pause of 60 s between, as a validation makes."""
    steps, tokens = np.array([10.0, 20.0, 30.0]), np.array([1000.0, 2000.0, 3000.0])
    times, rates = np.array([102.0, 164.0, 168.0]), np.array([500.0, 500.0, 250.0])
    series = (steps, times, tokens), (steps, times, rates)
    assert clocks.clock(clocks.TRAINING, *series, 100.0).at(np.array([0.0, 10.0, 20.0, 25.0, 30.0])).tolist() == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert clocks.clock(clocks.TOKENS, *series, 100.0).at(np.array([5.0, 30.0, 40.0])).tolist() == [500.0, 3000.0, 4000.0]
    wall = clocks.clock(clocks.WALL, *series, 100.0)
    assert wall.at(np.array([10.0, 30.0])).tolist() == [2.0, 68.0]
    assert wall.steps_at(33.0) == 15.0
    nothing = np.empty(0)
    assert np.isnan(clocks.clock(clocks.TRAINING, (nothing,) * 3, (nothing,) * 3, 0.0).at(np.array([1.0]))).all()
