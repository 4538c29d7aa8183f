"""PDF through an installed browser: printed where there is one, a sentence where there is none."""

from __future__ import annotations

import shutil

import pytest

from engines.report import paper

PAGE = "<!doctype html><title>t</title><p>A report"


def test_without_a_browser_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(paper.PrintError, match=r"there is none\. Write --html and print it"):
        paper.write_pdf(PAGE, tmp_path / "out.pdf")


def test_a_browser_that_fails_is_reported(tmp_path, monkeypatch):
    browser = tmp_path / "chromium"
    browser.write_text("#!/bin/sh\necho 'no display' >&2\nexit 3\n", encoding="utf-8")
    browser.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(paper.PrintError, match="did not print the report: no display"):
        paper.write_pdf(PAGE, tmp_path / "out.pdf")


@pytest.mark.slow
@pytest.mark.skipif(not any(shutil.which(name) for name in paper.BROWSERS), reason="no browser of the Chromium family is installed")
def test_a_browser_prints_the_page(tmp_path):
    assert paper.write_pdf(PAGE, tmp_path / "out.pdf").read_bytes().startswith(b"%PDF")
