"""The profile view: what is read, the pictures of it, and making one in a process."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from pytestqt.qtbot import QtBot

from engines.store.database import Store
from workbench.desk import Desk
from workbench.logaxis import LogAxis, decade
from workbench.profiling import reading
from workbench.profiling.flame import ROW
from workbench.profiling.pages import step_words
from workbench.profiling.roofline import told_together
from workbench.views.profile import ProfileView

sys.path.insert(0, str(Path(__file__).parent))
import profiles
import samples


@pytest.fixture
def view(qtbot: QtBot, desk: Desk, store: Store, store_url: str) -> Iterator[ProfileView]:
    desk.set_store(Store.open(store_url))
    made = ProfileView(desk)
    qtbot.addWidget(made)
    made.resize(1184, 746)
    made.show()
    yield made
    made.leave()


@pytest.fixture
def shown(qtbot: QtBot, view: ProfileView, store: Store) -> ProfileView:
    """With the profile of a finished run."""
    samples.submit(store)
    run = samples.start(store)
    samples.finish(store, run, perplexity=90.0, speed=1000.0, memory=100.0)
    profiles.store_profile(store, run, profiles.profile())
    qtbot.waitUntil(lambda: bool(view.roofline.layers), timeout=20_000)
    return view


def read(folder: Path, data: Any) -> reading.Profile:
    path = folder / "profile.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return reading.read(path)


# --- Reading --------------------------------------------------------------------------------------------------------------------------------


def test_shares_of_the_layers_sum_to_one_and_carry_the_roofline(tmp_path: Path) -> None:
    found = read(tmp_path, profiles.profile())
    assert sum(row["share"] for row in found.layers) == pytest.approx(1.0)
    head = next(row for row in found.layers if row["name"] == "head")
    assert head["ms"] == pytest.approx(65.0)
    assert head["bound"] == "compute"
    assert len(found.operators) == 30
    assert found.operators[0]["name"] == "aten::addmm"


def test_the_flame_graph_lies_within_the_step(tmp_path: Path) -> None:
    cells = read(tmp_path, profiles.profile()).cells
    for number, cell in enumerate(cells):
        assert cell.own >= -1e-9
        inside = [cells[child] for child in cell.children]
        assert sum(child.ms for child in inside) <= cell.ms + 1e-9
        for child in inside:
            assert child.parent == number
            assert cell.start - 1e-9 <= child.start
            assert child.start + child.ms <= cell.start + cell.ms + 1e-6
    assert {cell.phase for cell in cells if cell.depth > 1} == {"forward", "backward", "optimizer"}


def test_a_parent_is_as_long_as_its_children_together() -> None:
    tree = {"name": "step", "ms": 1.0, "children": [{"name": "a", "ms": 2.0, "children": []}, {"name": "b", "ms": 3.0, "children": []}]}
    assert [(cell.name, cell.start, cell.ms) for cell in reading.flame(tree)] == [("step", 0.0, 5.0), ("a", 0.0, 2.0), ("b", 2.0, 3.0)]


def test_a_long_timeline_keeps_its_peak(tmp_path: Path) -> None:
    data = profiles.profile(instants=9000)
    data["memory"]["timeline"][4321]["activations"] += 5000.0
    found = read(tmp_path, data)
    assert len(found.instants) == reading.INSTANTS
    assert np.all(np.diff(found.instants) > 0)
    assert float(found.owners["activations"].max()) == pytest.approx(data["memory"]["timeline"][4321]["activations"])


def test_blocks_of_the_model() -> None:
    assert reading.split("layers.12.mixer.query") == ("layers.12", "mixer")
    assert reading.split("layers.0") == ("layers.0", "")
    assert reading.split("head.tail.1") == ("head.tail.1", "")
    assert reading.split("embedding") == ("embedding", "")


@pytest.mark.parametrize(("text", "said"), [("{", "is damaged"), ('{"version": 7}', "has version 7")])
def test_a_file_that_cannot_be_used_is_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(tmp_path, text)
    with pytest.raises(ValueError, match="cannot be read"):
        reading.read(tmp_path / "gone.json")


def test_log_axes_name_decades_and_stay_apart(qapp: object) -> None:
    assert [decade(exponent) for exponent in (-5, -2, 0, 4, 9.30103)] == ["1e-05", "0.01", "1", "10 k", "2 G"]
    axis = LogAxis("bottom")
    assert axis.tickValues(0, 12, 300)[0][1] == [0.0, 3.0, 6.0, 9.0, 12.0]
    assert axis.tickValues(0, 1, 600)[0][1] == pytest.approx([0.0, np.log10(2), np.log10(5), 1.0])


# --- The view -------------------------------------------------------------------------------------------------------------------------------


def test_a_stored_profile_is_shown_with_its_step(shown: ProfileView) -> None:
    data = profiles.profile()
    assert shown.step_card.heading.text() == f"One training step: {data['step_ms']['median']:.1f} ms"
    assert shown.step_caption.text() == step_words(data)
    assert "waiting for data 3.20 ms" in shown.step.accessibleDescription()
    assert "in the middle half of the steps 2.88 to 3.52 ms" in shown.step.accessibleDescription()
    assert "a hint and no more. Other work used 40%" in step_words(data | {"load": {"machine_percent": 40.0}})
    assert shown.layers.table.figures.rowCount() == len(data["layers"])
    assert "aten::_foreach_norm (10 calls)" in shown.layers.words.text()
    assert shown.bar.profile_button.text() == "Profile again"


def test_what_a_step_held_beside_its_tensors_is_told(shown: ProfileView) -> None:
    data = profiles.profile()
    assert not shown.memory.words.isVisibleTo(shown.memory)
    for own, words in (
        ({"resident_peak_mib": 812.5}, "The process held at most 812.5 MiB in the step, interpreter, libraries and text included."),
        (
            {"resident_peak_mib": 3000.0, "allocated_peak_mib": 400.0, "reserved_mib": 512.0, "context_mib": 480.0},
            "The allocator of the GPU counted at most 400.0 MiB. It had taken 512.0 MiB from the GPU for it. The CUDA context takes 480.0 MiB more.",
        ),
    ):
        shown.memory.show_profile(replace(shown.profile, data=data | {"memory": data["memory"] | {"peak": data["memory"]["peak"] | own}}))
        assert shown.memory.words.text() == words
        assert shown.memory.words.isVisibleTo(shown.memory)


def test_layers_are_sorted_and_linked_with_the_model_and_the_roofline(qtbot: QtBot, shown: ProfileView) -> None:
    table, picture = shown.layers.table, shown.layers.picture
    table.sortByColumn(2, Qt.SortOrder.DescendingOrder)
    assert table.figures.rows[0]["name"] == "head"
    table.select("layers.3.feedforward.inner")
    assert picture.holding("layers.3.feedforward.inner").name == "feedforward"  # type: ignore[union-attr]
    assert picture._marked == "layers.3.feedforward.inner"
    assert shown.roofline.words.text().startswith("layers.3.feedforward.inner: ")
    place = next(number for number, part in enumerate(picture.parts) if part.block == "head")
    qtbot.mouseClick(picture, Qt.MouseButton.LeftButton, pos=picture._area(picture.parts[place]).center().toPoint())
    assert table.selected == "head"
    table.sortByColumn(0, Qt.SortOrder.AscendingOrder)
    assert table.figures.rows[0]["name"] == "embedding"
    assert table.selected == "head"
    qtbot.keyClick(picture, Qt.Key.Key_Up)
    assert table.selected == "final_norm"


def test_pointing_marks_the_other_side(shown: ProfileView) -> None:
    table, picture = shown.layers.table, shown.layers.picture
    picture.pointed.emit("layers.1.mixer_norm")
    assert table.painter_.pointed_at == "layers.1.mixer_norm"
    table.pointed.emit("head")
    assert picture.parts[picture._hovered].name == "head"
    table.pointed.emit("")
    assert picture._hovered == -1


def test_the_flame_graph_zooms_by_mouse_and_keys(qtbot: QtBot, shown: ProfileView) -> None:
    shown.tabs.setCurrentWidget(shown.flame)
    graph = shown.flame.graph
    qtbot.waitUntil(lambda: graph.width() > 300, timeout=10_000)
    backward = next(number for number, cell in enumerate(graph.cells) if cell.name == "backward")
    middle = graph.area(backward).center().toPoint()  # type: ignore[union-attr]
    assert middle.y() // ROW == 1
    qtbot.mouseClick(graph, Qt.MouseButton.LeftButton, pos=middle)
    assert graph.root == backward
    assert graph.area(backward).width() == graph.width()  # type: ignore[union-attr]
    assert graph.area(next(number for number, cell in enumerate(graph.cells) if cell.name == "forward")) is None
    assert shown.flame.words.text().startswith("backward: ")
    qtbot.keyClick(graph, Qt.Key.Key_Down)
    assert graph.cells[graph.current].name.startswith(("layers.", "head"))
    qtbot.keyClick(graph, Qt.Key.Key_Return)
    assert graph.root == graph.current
    qtbot.keyClick(graph, Qt.Key.Key_Escape)
    assert graph.root == 0
    assert graph.at(QPoint(5, 5)) == 0


def test_the_roof_is_the_lower_of_compute_and_bandwidth(shown: ProfileView) -> None:
    roof = shown.roofline.roof
    assert roof(1e6, "float32") == profiles.PEAKS["flops_per_s"]["float32"]  # type: ignore[index]
    assert roof(0.5, "float32") == pytest.approx(0.5 * 1.15e10)
    assert shown.roofline.notice.text == ""
    assert shown.roofline.remark.isHidden()
    fast = [{**row, "flops_per_s": 1e12 if row["name"] == "head" else row["flops_per_s"]} for row in shown.roofline.layers]
    shown.roofline.show_layers(fast, profiles.PEAKS)
    assert shown.roofline.remark.text().startswith("1 dot lies above the roof: ")


def test_roofs_that_lie_together_share_a_name() -> None:
    peak = {"float32": 50.0, "float16": 740.0, "bfloat16": 743.0, "int8": 1400.0}
    assert told_together(peak) == [["float32"], ["int8"], ["bfloat16", "float16"]]
    assert told_together({"float32": 179.0, "float16": 186.0}) == [["float32"], ["float16"]]


def test_without_peaks_the_view_says_what_to_do(qtbot: QtBot, shown: ProfileView, desk: Desk, tmp_path: Path) -> None:
    shown._show(read(tmp_path, profiles.profile(2, peaks=False)))
    qtbot.waitUntil(lambda: "peaks were not measured" in shown.roofline.notice.text, timeout=10_000)
    with qtbot.waitSignal(desk.wants_peaks, timeout=1000):
        shown.roofline.notice._action.click()


def test_memory_names_the_peak_and_its_owners(shown: ProfileView) -> None:
    assert shown.memory.timeline.words.text().startswith("At the peak, ")
    assert "activations 160" in shown.memory.timeline.words.text()
    assert [row["name"] for row in shown.memory.owners.figures.rows] == ["parameters", "gradients", "optimizer", "activations", "other"]
    assert sum(row["share"] for row in shown.memory.owners.figures.rows) == pytest.approx(1.0)
    assert shown.memory.modules.figures.rows[0]["name"] == "head"


def test_arrows_walk_through_the_memory_of_the_step(qtbot: QtBot, shown: ProfileView) -> None:
    timeline = shown.memory.timeline
    at_the_peak = timeline.words.text()
    qtbot.keyClick(timeline, Qt.Key.Key_Left)
    assert timeline.words.text().startswith("Here, ")
    qtbot.keyClick(timeline, Qt.Key.Key_Home)
    assert timeline.words.text() == at_the_peak


def test_the_trace_is_saved(qtbot: QtBot, shown: ProfileView, tmp_path: Path) -> None:
    shown.save_trace(tmp_path / "mine.json.gz")
    qtbot.waitUntil(lambda: "Perfetto" in shown.notice.text, timeout=10_000)
    assert (tmp_path / "mine.json.gz").read_bytes() == shown.profile.trace.read_bytes()  # type: ignore[union-attr]


# --- Making one -----------------------------------------------------------------------------------------------------------------------------


def test_a_run_is_profiled_by_a_process_and_shown(qtbot: QtBot, view: ProfileView, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    samples.submit(store, variants=("full",))
    run = samples.start(store)
    qtbot.waitUntil(lambda: view.bar.run == run.id, timeout=20_000)
    view.unprofiled.button.click()
    assert "when it has ended" in view.notice.text
    samples.finish(store, run, perplexity=90.0, speed=1000.0, memory=100.0)
    qtbot.waitUntil(lambda: "done" in view.bar.runs.currentText(), timeout=20_000)
    assert view.profile is None
    asked: list[list[str]] = []
    start = view.program.start

    def play(arguments: list[str]) -> None:
        asked.append(arguments)
        profiles.store_profile(store, run, profiles.profile(2))
        start(["-c", "print('a library speaks'); print('{\"doing\": \"counting work\"}', flush=True)"])

    monkeypatch.setattr(view.program, "start", play)
    view.unprofiled.button.click()
    assert asked[0][:2] == ["-m", "engines.runtime.profile"]
    assert asked[0][-2:] == ["--run", str(run.id)]
    assert not view.bar.working.isHidden()
    qtbot.waitUntil(lambda: view.bar.working.words.text() == "Counting work", timeout=20_000)
    qtbot.waitUntil(lambda: view.profile is not None, timeout=20_000)
    assert view.bar.working.isHidden()
    assert len(view.profile.layers) == 23  # type: ignore[union-attr]


def test_a_refusal_is_told_and_a_profile_can_be_stopped(qtbot: QtBot, view: ProfileView, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    samples.finished(store, variants=("full",))
    qtbot.waitUntil(lambda: view.bar.run is not None, timeout=20_000)
    start = view.program.start
    refuse = "import json, sys; print(json.dumps({'error': 'The corpus has changed since run r1 was trained.'})); sys.exit(2)"
    monkeypatch.setattr(view.program, "start", lambda _arguments: start(["-c", refuse]))
    view.start()
    qtbot.waitUntil(lambda: view.notice.text == "The corpus has changed since run r1 was trained.", timeout=20_000)
    waiting = "import time; print('{\"doing\": \"timing plain steps\"}', flush=True); time.sleep(60)"
    monkeypatch.setattr(view.program, "start", lambda _arguments: start(["-c", waiting]))
    view.start()
    qtbot.waitUntil(lambda: view.bar.working.words.text() == "Timing plain steps", timeout=20_000)
    view.bar.working.stop_button.click()
    qtbot.waitUntil(lambda: "was stopped" in view.notice.text, timeout=20_000)
    assert view.bar.profile_button.isEnabled()
