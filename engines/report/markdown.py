"""A report as Markdown: names and figures are inert in it and in the HTML that Markdown lets through."""

from __future__ import annotations

import re
from collections.abc import Sequence

from engines.report.blocks import Block, Cell, File, Grid, Heading, Item, Picture, Report, Sentence, Span
from engines.report.sections import SIMULATED

_SHORT = {"no practical difference": "=", "not enough data": "?", SIMULATED: f"*{SIMULATED}*"}


def markdown(report: Report, charts: str = "") -> str:
    """The text. charts: the folder, as seen from the file, where the pictures lie as SVG; without one they are left out or stand as tables."""
    parts: list[str] = []
    for block in (report if charts else report.in_words()).blocks:
        text = _written(block, charts)
        if text:
            # Entries of one list stand together.
            parts.append(("\n" if isinstance(block, Item) and parts and parts[-1].lstrip()[:2] in ("- ", "1.") else "\n\n") + text)
    text = "".join(parts).strip() + "\n"
    if not any(isinstance(block, File) and block.name for block in report.blocks):
        text += "".join(f"\n## {_inert(file.name)}\n\n{_fenced(file)}\n" for file in report.files)
    return text


def _written(block: Block, charts: str) -> str:
    match block:
        case Heading():
            return f"{'#' * min(block.level, 6)} {_inert(block.text)}"
        case Sentence():
            return ("> " if block.look == "quote" else "") + _spans(block.spans)
        case Item():
            return f"{'  ' * block.level}{'- ' if block.mark == '' else '  ' if block.mark == ' ' else block.mark + ' '}{_spans(block.spans)}"
        case Grid():
            return _grid(block)
        case Picture():
            link = f"![{_inert(block.drawing.title)}]({charts}/{block.name}.svg)" if charts else ""
            return "\n\n".join(part for part in (link, _grid(block.instead) if block.instead else "") if part)
        case File():
            return _fenced(block)


def _grid(grid: Grid) -> str:
    rows = [[_inert(head) or " " for head in grid.head], ["---", *(("---" if grid.plain else "---:") for _ in grid.head[1:])]]
    rows += [[_cell(cell) for cell in row] for row in grid.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(cell: Cell) -> str:
    text = _inert(cell.text)
    text = f"**{text}**" if cell.strong else text
    beside = " ".join(part for part in (cell.ratio, f"[{cell.interval}]" if cell.interval else "") if part)
    verdict = "" if cell.verdict == cell.text else _SHORT.get(cell.verdict, cell.verdict)
    return " ".join(part for part in (text, f"({beside})" if beside else "", verdict) if part)


def _spans(spans: Sequence[Span]) -> str:
    return "".join(map(_span, spans)).strip()


def _span(span: Span) -> str:
    if span.text == "\n":
        return "  \n"
    if span.code:
        fence = "`" * (max((len(run) for run in re.findall("`+", span.text)), default=0) + 1)
        room = " " if span.text.startswith("`") or span.text.endswith("`") else ""
        return f"{fence}{room}{span.text}{room}{fence}"
    # Blanks stay outside of the marks, inside they would end them.
    start, text, end = re.fullmatch(r"(\s*)(.*?)(\s*)", span.text, flags=re.DOTALL).groups()  # type: ignore[union-attr]
    # Blanks at the beginning of a line would make it code.
    start, end = " " if start else "", " " if end else ""
    mark = ("**" if span.strong else "") + ("*" if span.slanted else "")
    text = f"{mark}{_inert(text)}{mark[::-1]}" if text else ""
    target = re.sub(r"[<>\s]", "", span.link)
    return f"{start}[{text}](<{target}>){end}" if span.link and text else f"{start}{text}{end}"


def _fenced(file: File) -> str:
    fence = "`" * max(3, max((len(run) for run in re.findall("`+", file.text)), default=0) + 1)
    return f"{fence}{'toml' if file.name else ''}\n{file.text.rstrip()}\n{fence}"


def _inert(text: str) -> str:
    text = re.sub(r"([\\`*_\[\]|#~])", r"\\\1", " ".join(text.split())).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # A line that begins so would be a list or a rule.
    return re.sub(r"^([-+=]|\d+[.)])(?=\s|$|[-=])", lambda found: f"\\{found[0]}" if found[0] in "-+=" else f"{found[0][:-1]}\\{found[0][-1]}", text)
