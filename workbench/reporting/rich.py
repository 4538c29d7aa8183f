"""Blocks of a report in the subset of HTML that Qt's documents know, with charts as pictures of a document."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from engines.report.blocks import Block, Cell, File, Grid, Heading, Item, Picture, Sentence, Span
from workbench.theme import Theme

ROWS = 40
"""Rows of a table that a preview shows."""
WIDEST = 80
"""Letters of a cell that a preview shows."""
_COLOURS = {"better": "ok", "worse": "danger", "simulated": "warning", "not enough data": "muted", "no practical difference": "text"}


def html(blocks: Sequence[Block], theme: Theme, width: int) -> str:
    """The body; pictures are named chart:0 and on, in order, and as wide as the page."""
    pictures = 0
    parts = []
    for block in blocks:
        if isinstance(block, Picture):
            shown = min(width, round(block.drawing.width))
            parts.append(f'<p><img src="chart:{pictures}" width="{shown}"></p>')
            pictures += 1
        else:
            parts.append(_written(block, theme))
    return "".join(parts)


def _written(block: Block, theme: Theme) -> str:
    match block:
        case Heading():
            size = {1: "xx-large", 2: "x-large"}.get(block.level, "large" if block.level == 3 else "medium")
            dot = f'<span style="color:{theme.curve(block.colour)}">●</span> ' if block.colour is not None else ""
            return f'<p style="margin:12px 0 6px 0; font-size:{size}; font-weight:600">{dot}{escape(block.text)}</p>'
        case Sentence():
            colour = {"small": theme.muted, "quote": theme.muted, "warning": theme.warning, "failure": theme.danger}.get(block.look, theme.text)
            left = 18 if block.look == "quote" else 0
            return f'<p style="margin:4px 0 6px {left}px; color:{colour}">{_spans(block.spans, theme)}</p>'
        case Item():
            mark = "•" if block.mark == "" else escape(block.mark)
            return f'<p style="margin:2px 0 2px {16 + 18 * block.level}px; text-indent:-12px">{mark} {_spans(block.spans, theme)}</p>'
        case Grid():
            return _grid(block, theme)
        case File():
            return f'<pre style="background-color:{theme.sunken}; margin:6px 0; white-space:pre-wrap">{escape(block.text)}</pre>'
    return ""


def _grid(grid: Grid, theme: Theme) -> str:
    sides = ["left", *(["left" if grid.plain else "right"] * (len(grid.head) - 1))]
    head = "".join(f'<th align="{side}" style="color:{theme.muted}">{escape(text)}</th>' for side, text in zip(sides, grid.head, strict=True))
    rows = "".join(
        "<tr>" + "".join(f'<td align="{side}">{_cell(cell, theme)}</td>' for side, cell in zip(sides, row, strict=True)) + "</tr>"
        for row in grid.rows[:ROWS]
    )
    left = len(grid.rows) - ROWS
    more = f'<p style="color:{theme.muted}">… and {left} more rows in the report.</p>' if left > 0 else ""
    style = f'border="1" style="border-style:solid; border-color:{theme.border}; border-collapse:collapse"'
    return f'<table {style} cellspacing="0" cellpadding="5" width="100%"><thead><tr>{head}</tr></thead>{rows}</table>{more}'


def _cell(cell: Cell, theme: Theme) -> str:
    text = escape(cell.text if len(cell.text) <= WIDEST else f"{cell.text[: WIDEST - 1]}…")
    alone = cell.verdict == cell.text
    colour = getattr(theme, _COLOURS.get(cell.verdict, "text"))
    parts = [f"<b>{text}</b>" if cell.strong else f'<span style="color:{colour}">{text}</span>' if alone else text]
    beside = " ".join(part for part in (cell.ratio, f"[{cell.interval}]" if cell.interval else "") if part)
    parts += [f'<span style="color:{theme.muted}; font-size:small">{escape(beside)}</span>'] if beside else []
    parts += [f'<span style="color:{colour}; font-size:small">{escape(cell.verdict)}</span>'] if cell.verdict and not alone else []
    return "<br>".join(parts)


def _spans(spans: Sequence[Span], theme: Theme) -> str:
    found = []
    for span in spans:
        text = escape(span.text).replace("\n", "<br>")
        text = f"<code>{text}</code>" if span.code else text
        text = f"<i>{text}</i>" if span.slanted else text
        text = f"<b>{text}</b>" if span.strong else text
        found.append(f'<span style="color:{theme.accent}">{text}</span>' if span.link else text)
    return "".join(found)
