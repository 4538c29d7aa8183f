"""Markdown and LaTeX of a report: the same figures, hostile names do nothing, a person's own text stays what it was."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from engines.report import latex, markdown, sections, written
from engines.report.blocks import File, Grid, Heading, Item, Report, Sentence, Span
from engines.report.design import Design, Section
from engines.report.material import Material

OWN = (
    "## Größe 尺寸\n\nAs **bold** as `a_b|c`, <script>alert(1)</script>.\n\n1. one\n   - two\n\n"
    "```\n\\end{x} ^_^\n```\n\n| k | v |\n|--|--|\n| 50% | $1_2 |"
)


@pytest.fixture
def report(comparison):
    usual = Design().sections
    return sections.report(Material(comparison), Design(section=(Section(kind="text", title="Note", text=OWN), *usual)))


def rows(text):
    return [line for line in text.splitlines() if line.startswith("|")]


def test_markdown_has_the_figures(report, comparison):
    text = markdown.markdown(report)
    assert "| **full** | **179.8** |" in text
    assert "(0.55x [0.548 to 0.554]) better" in text
    assert "0.20x *simulated* | 1.00x = | 1.00x = |" in text
    assert "14 verdicts" in text
    assert "Killed by the system: out of memory. Use a smaller batch." in text
    assert "| inference speed | adaptive | 1.83x |" in text
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    assert "<script" not in html
    assert "<h2>Note</h2>" in html
    assert "<strong>bold</strong>" in html


def test_a_variant_over_a_limit_is_marked_in_every_format(comparison):
    comparison["variants"]["adaptive"]["violations"] = ['Target "one core": too much.']
    made = sections.report(Material(comparison), Design())
    assert "| adaptive (over a limit) |" in markdown.markdown(made)
    assert 'Target "one core": too much.' in markdown.markdown(made)
    assert "adaptive (over a limit) &" in latex.latex(made)


def test_a_pipe_in_a_name_does_not_break_the_table(comparison):
    comparison["variants"]["a|b\nc"] = comparison["variants"].pop("adaptive")
    found = rows(markdown.markdown(sections.report(Material(comparison), Design(section=[Section(kind="verdicts")]))))
    assert len({row.replace("\\|", "").count("|") for row in found}) == 1
    assert any("a\\|b c" in row for row in found)


def test_charts_are_linked_only_where_they_lie_beside(report):
    assert "![" not in markdown.markdown(report)
    assert "![Ratios to the baseline](charts/ratios.svg)" in markdown.markdown(report, "charts")
    assert "## Learning curves" not in markdown.markdown(report)
    assert "\\includegraphics[width=\\linewidth]{charts/ratios.pdf}" in latex.latex(report, "charts")
    assert "includegraphics" not in latex.latex(report)


@settings(max_examples=150, deadline=None)
@given(st.text(min_size=1, max_size=40).filter(str.strip))
def test_any_name_is_itself_in_markdown(name):
    """A reader that lets HTML through shows the name, and nothing but the name."""
    report = Report("", [Heading("h", 2), Sentence([Span(name)])])
    html = MarkdownIt("commonmark", {"html": True}).render(markdown.markdown(report))
    shown = re.fullmatch(r"<h2>h</h2>\n(?:<p>(.*)</p>\n)?", html, flags=re.DOTALL)
    assert shown
    assert "<" not in (shown[1] or "")


def test_own_markdown_becomes_blocks():
    found = list(written.blocks(OWN))
    assert found[0] == Heading("Größe 尺寸", 3)
    assert [(item.mark, item.level) for item in found if isinstance(item, Item)] == [("1.", 0), ("", 1)]
    assert File("", "\\end{x} ^_^") in found
    assert next(block for block in found if isinstance(block, Grid)).head == ["k", "v"]
    assert [span.text for span in found[1].spans if span.code] == ["a_b|c"]


def test_latex_is_booktabs_and_escaped(report):
    text = latex.latex(report)
    for rule in ("\\toprule", "\\midrule", "\\bottomrule", "\\begin{longtable}{p{0.28\\linewidth}rrrr}"):
        assert rule in text
    for figure in ("95\\% intervals", "\\textbf{1.83$\\times$}", "\\textit{1.05$\\times$}"):
        assert figure in text
    assert "\\textless{}script\\textgreater{}" in text
    assert latex.tex("\\input{/etc/passwd} 100% #1 ^~") == (
        "\\textbackslash{}input\\{/etc/passwd\\} 100\\% \\#1 \\textasciicircum{}\\textasciitilde{}"
    )
    bare = re.sub(r"\\[\\{}]", "", text)
    for left, right in ("{}", ("\\begin{", "\\end{")):
        assert bare.count(left) == bare.count(right)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX is installed")
def test_latex_compiles(report, tmp_path):
    signs = "".join(map(chr, [*range(32, 127), *range(0xA1, 0x180)])) + " 尺寸 \u200f العربية 😀 … – × → ≤ µ"
    hostile = Report(signs, [*report.blocks, Heading(signs), Item([Span(signs)]), Sentence([Span(signs)])])
    (tmp_path / "report.tex").write_text(latex.latex(hostile), encoding="utf-8")
    packages = "".join(f"\\usepackage{{{name}}}" for name in ("textcomp", *latex.NEEDS))
    main = f"\\documentclass{{article}}\\usepackage[T1]{{fontenc}}{packages}\\begin{{document}}\\input{{report}}\\end{{document}}"
    (tmp_path / "main.tex").write_text(main, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "main.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=100, check=False)
    assert done.returncode == 0, done.stdout[-1500:]
    assert (tmp_path / "main.pdf").exists()
