"""The page is one file that loads nothing, escapes everything, runs no script but its own, and says how it judged."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

from engines.report import figures, page
from engines.report.design import Design, Section
from engines.report.material import Material
from tests.engines.report.conftest import HOSTILE
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
    machines = [{"cpu": "<img src=x onerror=alert(3)>"}]
    return page.html(Material(comparison, [curve], [experiment], machines, profiles={"adaptive": made}))


def test_the_page_is_well_formed_and_loads_nothing(whole):
    found = read(whole)
    assert found.tags.count("svg") == 5 + 1 + 3  # scatters and curves, the forest plot, the profile
    assert not {"img", "link", "iframe", "object", "i-full"} & set(found.tags)
    names = {name for name, _ in found.attributes}
    assert not {"src", "onerror", "onclick"} & names
    links = [value for name, value in found.attributes if name == "href"]
    assert links
    assert all(value.startswith("data:application/toml;base64,") for value in links)
    assert "url(" not in whole
    assert "@import" not in whole
    assert "default-src 'none'" in whole


def test_only_its_own_script_may_run(whole):
    """The policy names the script by its digest; the data beside it are no script and cannot end their element."""
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", whole, flags=re.DOTALL)
    (_, data), (attributes, script) = scripts
    assert attributes == ""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert re.search(r"script-src ([^\"]*)\"", whole)[1] == f"'sha256-{digest}'"
    assert HOSTILE in [variant["name"] for variant in json.loads(data)["variants"]]


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
        "Which output layer for 10k words?", "1 of 4 runs is not finished yet.", "adaptive: better in inference speed (1.83x, 1.82 to 1.83)",
        "Killed by the system: out of memory. Use a smaller batch.", "makes 14 verdicts in all", "what was tried before", "A/A control",
        "80% of the weights are zero, but dense kernels multiply zeros", "What it does otherwise than the baseline", "softmax/adaptive",
        "A profiled training step", "A/A: full again", "simulated", "Non-zero: 8,000,000 to 1,600,000.",
        "Training time (s)", "workbench run experiment.toml",
    ):  # fmt: skip
        assert needed in texts


def test_a_variant_over_a_limit_and_remarks_about_the_measuring_are_shown(comparison):
    comparison["variants"]["adaptive"]["violations"] = ['Target "one core": too <much>.']
    found = read(page.html(Material(comparison, remarks=["Recording took 0.1%.", "No <RAPL>."])))
    texts = " ".join("".join(found.text).split())
    assert texts.count("over a limit") == 1
    for needed in ('Target "one core": too <much>.', "Recording took 0.1%.", "No <RAPL>."):
        assert needed in texts
    classes = [value.split() for name, value in found.attributes if name == "class" and value]
    assert sum(each == ["over"] for each in classes) == 2  # its rows among the verdicts and the savings
    assert sum(len(each) > 1 and "over" in each for each in classes) == 4 * 4  # dot, name and whiskers in each scatter


def test_the_page_knows_light_dark_and_paper(whole):
    assert "prefers-color-scheme: dark" in whole
    assert "@media print" in whole


def test_a_comparison_without_figures_has_a_page(comparison):
    for variant in comparison["variants"].values():
        variant["results"] = {}
    comparison["control"], comparison["warnings"] = {}, []
    texts = "".join(read(page.html(Material(comparison))).text)
    assert "No judging figure was measured yet." in texts
    assert "No machine was recorded." in texts
    assert "No interleaved timing session was made" in texts


def test_the_page_has_the_sections_of_its_design_in_their_order(comparison):
    text = "# Größe 尺寸 حجم\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n<script>alert(4)</script> [bad](javascript:alert(5)) ![far](https://example.org/x.png)"
    sections = (
        Section(kind="price", title="What it <costs>"), Section(kind="text", title="Note", text=text),
        Section(kind="summary", text="As *always*."), Section(kind="machine", shown=False),
    )  # fmt: skip
    whole = page.html(Material(comparison), Design(title="Mine & yours", section=sections))
    found = read(whole)
    texts = "".join(found.text)
    places = [texts.index(each) for each in ("What it <costs>", "Größe 尺寸 حجم", "Every variant is held against")]
    assert places == sorted(places)
    assert "Mine & yours" in texts
    assert "No machine was recorded" not in texts
    assert "<script>alert(4)</script>" in texts
    assert "<em>always</em>" in whole
    assert found.tags.count("h1") == 1
    assert "img" not in found.tags
    assert not any(value and value.startswith("javascript") for _, value in found.attributes)


def test_a_tradeoff_shows_the_chosen_figures(comparison):
    chosen = Section(kind="tradeoff", x="size/parameters", y="latency/p50_ms")
    found = read(page.html(Material(comparison), Design(section=(chosen,))))
    assert ("data-x", "size/parameters") in found.attributes
    assert found.tags.count("svg") == 1


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))), None)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no browser of the Chromium family is installed")
def test_in_a_browser_its_script_runs_and_no_other(comparison, tmp_path):
    """The policy of the page is in force: its own script makes the tables sortable, one that got into it would stay still."""
    page_text = page.html(Material(comparison))
    foreign = "<script>document.title = 'broken into'</script><p onclick='1' id='late'></p></main>"
    (tmp_path / "report.html").write_text(page_text.replace("</main>", foreign), encoding="utf-8")
    command = [BROWSER, "--headless", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=2000", "--dump-dom"]
    command += ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    done = subprocess.run([*command, (tmp_path / "report.html").as_uri()], capture_output=True, text=True, timeout=100, check=True)
    assert "<title>Which output layer for 10k words?</title>" in done.stdout
    found = Reader()
    found.feed(done.stdout)
    classes = [value for name, value in found.attributes if name == "class"]
    assert classes.count("toolbar") == 1
    assert classes.count("sort") >= 7
    assert classes.count("axes") == 4
    assert "title" not in found.tags[found.tags.index("body") :]  # hints are the page's own now
