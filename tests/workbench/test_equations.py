"""Equations of cards: what becomes of the plain notation, and that none of the catalogue loses a letter."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest
from PySide6.QtGui import QTextDocument
from pytestqt.qtbot import QtBot

from workbench import theme
from workbench.cards import card_html, parameters_html
from workbench.equations import GREEK, block_html, equations, numbered, typeset


@pytest.mark.parametrize(
    ("plain", "rich"),
    [
        ("h_(t-1)", "<i>h</i><sub><i>t</i>−1</sub>"),
        ("C^(-1/2)", "<i>C</i><sup>−1/2</sup>"),
        ("H^-1 w_ij^2", "<i>H</i><sup>−1</sup> <i>w</i><sub><i>ij</i></sub><sup>2</sup>"),
        ("w_removed <- 0", "<i>w</i><sub>removed</sub> ← 0"),
        ("w^_i = v_(c_i)", "<i>w\u0302</i><sub><i>i</i></sub> = <i>v</i><sub><i>c</i><sub><i>i</i></sub></sub>"),
        ("log p~_y", "log <i>p\u0303</i><sub><i>y</i></sub>"),
        ("dL/dW' * M", "<i>dL</i>/<i>dW</i>′ ∗ <i>M</i>"),
        ("the teacher's k-means", "the teacher’s k-means"),
        ("beta1 u / sqrt(v)", "<i>β</i><sub>1</sub> <i>u</i> / √(<i>v</i>)"),
        ("sum_(s<=t) a_s, sum over t", "∑<sub><i>s</i>≤<i>t</i></sub> <i>a</i><sub><i>s</i></sub>, sum over <i>t</i>"),
        ("a row has 16 x 16 of a", "a row has 16 × 16 of <i>a</i>"),
        ("||x||_2 ... A call", "‖<i>x</i>‖<sub>2</sub> … A call"),
        ("as in quantization/weight_only, group_size", "as in quantization/weight_only, group_size"),
        ("|x_j| ^ alpha", "|<i>x</i><sub><i>j</i></sub>|<sup><i>α</i></sup>"),
        ("y < c & `std <= 1`", "<i>y</i> &lt; <i>c</i> &amp; <code>std &lt;= 1</code>"),
    ],
)
def test_notation(plain: str, rich: str) -> None:
    assert typeset(plain) == rich


def test_brackets_that_do_not_close_are_shown_as_they_are() -> None:
    assert typeset("x_(t") == "<i>x</i><sub>(</sub><i>t</i>"


def test_what_stands_below_each_other_stays_there() -> None:
    lines = [
        "    for r in R:  u <- g           (1)  lazy",
        "                 v <- g^2         (2)",
        "    rows of theta                 (3)",
    ]  # fmt: skip
    found = equations(lines)
    assert [each.head for each in found] == ["for r in R:", "", ""]
    assert [each.spans for each in found] == [False, False, True]
    assert [each.number for each in found] == ["(1)", "(2)", "(3)"]
    assert found[0].remark == "lazy"


def test_a_number_that_is_spoken_of_is_not_the_number_of_the_line() -> None:
    (found,) = equations(["    squared error = mean of (3)      (6)"])
    assert (found.body, found.number) == ("squared error = mean of (3)", "(6)")
    assert not numbered("Rows are compared within themselves, since (1)")


def test_no_equation_of_the_catalogue_loses_a_letter(catalogue: dict[str, Any]) -> None:
    """Rich text without its tags holds the letters and digits of the card in their order; and it is well-formed."""
    seen = 0
    for entry in catalogue["plugins"].values():
        lines = [line for line in entry["card"].split("\n")[1:] if numbered(line)]
        for line in lines:
            rich = ElementTree.fromstring(f"<p>{typeset(line.strip()).replace('&nbsp;', ' ')}</p>")
            assert _letters("".join(rich.itertext())) == _letters(_in_symbols(line)), (entry["id"], line)
        seen += len(lines)
    assert seen > 200


def _in_symbols(line: str) -> str:
    plain = re.sub(r"(?<![A-Za-z])(?:sum|prod)(?=_)|\bsqrt(?=\()|(?<=\d )x(?= \d)|\b(\w) x (?=\1\b)", lambda found: found[1] or "", line)
    return re.sub(r"(?<![A-Za-z])(" + "|".join(GREEK) + r")(?![A-Za-z])", lambda found: GREEK[found[1]], plain)


def _letters(text: str) -> str:
    return "".join(letter for letter in text if letter.isalnum())


@pytest.mark.parametrize("name", ["light", "dark"])
def test_qt_draws_scripts_raised_and_lowered(qtbot: QtBot, name: str) -> None:
    document = QTextDocument()
    document.setHtml(block_html(["    y = x_i^2      (1)"], theme.theme(name)))
    assert "y = xi2" in document.toPlainText()
    formats = set()
    block = document.begin()
    while block.isValid():
        at = block.begin()
        while not at.atEnd():
            formats.add((at.fragment().text(), at.fragment().charFormat().verticalAlignment().name))
            at += 1
        block = block.next()
    assert ("i", "AlignSubScript") in formats
    assert ("2", "AlignSuperScript") in formats


def test_symbols_and_costs_look_like_the_equations() -> None:
    html = card_html({"card": "Title\n\nSymbols: theta weights.\n\nCost: 2 n^3 operations.\n\nNote: theta."}, theme.theme("dark"))
    assert "<b>Symbols:</b> <i>θ</i> weights." in html
    assert "<b>Cost:</b> 2 <i>n</i><sup>3</sup> operations." in html
    assert "<b>Note:</b> theta." in html


def test_what_is_said_of_parameters_stands_by_itself_and_symbols_in_words_have_their_scripts() -> None:
    card = "Title\n\nq: any, w_i of `w_i`.\nunique: once at most,\nnot: here 2^B.\n\nh (D), R (K, D): log_prob of 1e-6 of a word < k."
    html = card_html({"card": card}, theme.theme("dark"))
    assert "<p><b>q:</b> any, <i>w</i><sub><i>i</i></sub> of <code>w_i</code>.</p>" in html
    assert "<p><b>unique:</b> once at most, not: here 2<sup><i>B</i></sup>.</p>" in html
    assert "<p><i>h</i> (<i>D</i>), <i>R</i> (<i>K</i>, <i>D</i>): log_prob of 1e-6 of a word &lt; <i>k</i>.</p>" in html


def test_the_table_of_parameters_says_what_a_file_would() -> None:
    properties = {
        "samples": {"type": "integer", "minimum": 1, "maximum": 1_000_000, "default": 512},
        "tied": {"type": "boolean", "default": False},
    }
    html = parameters_html({"parameters": {"properties": properties}}, theme.theme("light"))
    assert "1 ≤ … ≤ 1,000,000" in html
    assert "<td>false</td>" in html
    assert "true, false" in html
