"""The page is one file that loads nothing, escapes everything, and says how it judged."""

from __future__ import annotations

from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

from engines.report import figures, page
from tests.engines.report.profile_sample import profile

VOID = {"meta", "br", "img", "link", "input"}


class Reader(HTMLParser):
    """Collects tags, attributes and text, and checks that tags close in order."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(text):
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture
def whole(comparison):
    y = np.array([5.0, np.nan, 4.0])
    curve = figures.learning_curves("Training loss", "nats a token", [("<i>full</i>", 0, "<i>full</i>, run 1", np.arange(3.0), y)])
    experiment = SimpleNamespace(text='name = "</code><script>alert(2)</script>"', digest="0" * 64, folder="/tmp/<b>")
    made = profile()
    made["flame"]["name"] = made["layers"][0]["name"] = "<b>step</b>"
    return page.html(
        comparison, curves=[curve], experiments=[experiment], machines=[{"cpu": "<img src=x onerror=alert(3)>"}], profiles={"adaptive": made}
    )


def test_the_page_is_well_formed_and_loads_nothing(whole):
    found = read(whole)
    assert found.tags.count("svg") == 5 + 1 + 3  # scatters and curves, the forest plot, the profile
    assert not {"script", "img", "link", "iframe", "object", "i-full"} & set(found.tags)
    names = {name for name, _ in found.attributes}
    assert not {"src", "href", "onerror", "onclick"} & names
    assert "url(" not in whole
    assert "@import" not in whole
    assert "default-src 'none'" in whole


def test_every_text_is_escaped(whole):
    texts = "".join(read(whole).text)
    assert '<script>alert("x")</script> & $50_%' in texts
    assert "<img src=x onerror=alert(3)>" in texts
    assert 'name = "</code><script>alert(2)</script>"' in texts
    assert "/tmp/<b>" in texts
    assert "<i>full</i>, run 1" in texts
    assert "<b>step</b>" in texts


def test_the_page_says_what_and_how(whole):
    texts = " ".join("".join(read(whole).text).split())
    for needed in (
        "Which output layer for 10k words?", "1 of 4 runs is not finished yet.", "adaptive: better in inference speed (1.83x)",
        "Killed by the system: out of memory. Use a smaller batch.", "makes 14 verdicts in all", "none was tuned", "A/A control",
        "80% of the weights are zero, but dense kernels multiply zeros", "What it does otherwise than the baseline", "softmax/adaptive",
        "A profiled training step", "A/A: full again", "simulated", "Non-zero: 8,000,000 to 1,600,000.",
        "Training time (s)", "workbench run experiment.toml",
    ):  # fmt: skip
        assert needed in texts


def test_a_variant_over_a_limit_and_remarks_about_the_measuring_are_shown(comparison):
    comparison["variants"]["adaptive"]["violations"] = ['Target "one core": too <much>.']
    found = read(page.html(comparison, remarks=["Recording took 0.1%.", "No <RAPL>."]))
    texts = " ".join("".join(found.text).split())
    assert texts.count("over a limit") == 1
    for needed in ('Target "one core": too <much>.', "Recording took 0.1%.", "No <RAPL>."):
        assert needed in texts
    assert sum(value is not None and " over" in value for name, value in found.attributes if name == "class") == 1


def test_the_page_knows_light_dark_and_paper(whole):
    assert "prefers-color-scheme: dark" in whole
    assert "@media print" in whole


def test_a_comparison_without_figures_has_a_page(comparison):
    for variant in comparison["variants"].values():
        variant["results"] = {}
    comparison["control"], comparison["warnings"] = {}, []
    texts = "".join(read(page.html(comparison)).text)
    assert "No judging figure was measured yet." in texts
    assert "No machine was recorded." in texts
    assert "No interleaved timing session was made" in texts
