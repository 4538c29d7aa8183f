"""The HTML report printed to PDF by a browser that is already installed: no dependency for what one person in ten asks for."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from engines.comparison import ComparisonError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge", "msedge", "brave-browser")
_SECONDS = 120


class PrintError(ComparisonError):
    """The report could not be printed; the message says what to do instead."""


def write_pdf(text: str, path: Path | str) -> Path:
    """Print a page to PDF; returns where it lies. Raises PrintError where no browser of the Chromium family is found or it fails."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    advice = "Write --html and print it to PDF from any browser."
    if browser is None:
        raise PrintError(f"PDF needs an installed Chromium, Chrome, Edge or Brave on the PATH, and there is none. {advice}")
    out = Path(path).absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="workbench-report-") as folder:
        page = Path(folder) / "report.html"
        page.write_text(text, encoding="utf-8")
        command = [browser, "--headless", "--disable-gpu", "--no-pdf-header-footer", f"--user-data-dir={folder}/profile", f"--print-to-pdf={out}"]
        # Chromium refuses its sandbox to root; the page has no script but ours and loads nothing.
        command += ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        out.unlink(missing_ok=True)
        try:
            done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PrintError(f"{browser} did not print the report: {error}. {advice}") from error
    if done.returncode or not out.exists():
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise PrintError(f"{browser} did not print the report: {last[0]} {advice}")
    return out
