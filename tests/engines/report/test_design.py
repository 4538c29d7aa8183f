"""A description of a report survives being written, is kept beside the store, and says what is wrong with it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.report import design
from engines.report.design import KINDS, Design, DesignError, Section
from engines.store import bundles, commands
from engines.store.database import Store
from tests.workbench import samples

TEXTS = st.text(max_size=60).map(lambda text: text.encode("utf-8", "ignore").decode())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.builds(Section, kind=st.sampled_from(list(KINDS)), shown=st.booleans(), title=TEXTS, text=TEXTS), max_size=4), TEXTS)
def test_what_is_written_is_read(sections, title):
    made = Design(title=title, section=sections)
    assert design.parse(design.dump(made)) == made


def test_the_usual_report_has_every_kind_but_text():
    assert [section.kind for section in Design().sections] == [kind for kind in KINDS if kind != "text"]
    assert design.parse("") == Design()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[section]]\nkind = 'savins'", "section[0].kind = 'savins': names no kind of section; did you mean \"savings\"?"),
        ("[[section]]\nkind = 'text'\ntxt = 'a'", "section[0].txt is no key of it; did you mean \"text\"?"),
        ("[[section]]\nkind = 'price'\nx = 'latency/p50_ms'", 'x and y choose the axes of a section "tradeoff"'),
        ("title = ", "is no TOML"),
        ("sektion = 1", "sektion is no key of it"),
    ],
)
def test_what_is_wrong_is_said(text, sentence):
    with pytest.raises(DesignError, match=re.escape(sentence)):
        design.parse(text)


def test_it_is_kept_beside_the_store(tmp_path):
    store = Store.open(f"sqlite:///{tmp_path / 'store.sqlite'}")
    try:
        made = Design(title="Größe", section=[Section(kind="text", text="zwei\nZeilen\n")])
        assert design.remembered(store, [1]) == Design()
        design.remember(store, [1], made)
        assert design.remembered(store, [1]) == made
        assert design.remembered(store, [1, 2]) == Design()
        design.remember(store, [1], Design())
        assert not design.place(store, [1]).exists()
    finally:
        store.close()


def test_it_goes_along_with_a_bundle_and_away_with_its_experiment(tmp_path):
    made = Design(title="Mine", sections=())
    with Store.open(f"sqlite:///{tmp_path / 'store.sqlite'}") as store:
        experiment = samples.finished(store)
        design.remember(store, [experiment], made)
        packed = bundles.pack(store, experiment, tmp_path / "it.workbench").path
        with Store.open(bundles.unpack(packed, tmp_path / "out"), read_only=True) as opened:
            assert design.remembered(opened, [experiment]) == made
        commands.delete_experiment(store, experiment)
        assert design.place(store, [experiment]).exists()
        commands.gc(store)
        assert not design.place(store, [experiment]).exists()


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(DesignError, match="cannot be read: No such file"):
        design.read(tmp_path / "none.toml")
