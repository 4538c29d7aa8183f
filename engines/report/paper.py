"""A report on paper (A4, vectors, fonts and experiment files embedded), made without a browser or a display."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from engines.report.blocks import Block, Cell, File, Grid, Heading, Item, Picture, Report, Sentence, Span
from engines.report.drawing import Drawing
from engines.report.fonts import fonts_for
from engines.report.sheet import POINTS, Sheet

MARGIN, BOTTOM, GAP = 17.0, 18.0, 6.0
LEADING = 1.42
"""Height of a line by the size of its letters."""
HEADINGS = {1: 18.0, 2: 13.0, 3: 10.5}
NARROWEST = 15.0
"""Millimetres of a column; where not all have as much, the table goes on below with the names again."""
TALLEST = 7
"""Lines of a cell."""
_COLOURS = {"better": "ok", "worse": "danger", "simulated": "warning", "not enough data": "muted", "no practical difference": "text"}


class Line(NamedTuple):
    """A line of a table's cell."""

    text: str
    points: float
    bold: bool
    colour: str


def pdf(report: Report, version: str = "") -> bytes:
    """The file."""
    sheet = _Paper(report, version)
    for index, block in enumerate(report.blocks):
        sheet.write_block(block, report.blocks[index + 1] if index + 1 < len(report.blocks) else None)
    sheet.close_report()
    return bytes(sheet.output())


def picture(drawing: Drawing) -> bytes:
    """One drawing with its title as a page of just its size, to be put into a paper."""
    width, height, edge, head = drawing.width / 4, drawing.height / 4, 2.0, 7.0
    sheet = Sheet(fonts_for(" ".join([drawing.title, *(shape.text for shape in drawing.shapes)])), (width + 2 * edge, height + head + 2 * edge))
    sheet.set_margin(0)
    sheet.set_title(drawing.title)
    sheet.add_page()
    sheet.auto_page_break = False
    sheet.look(9.6, bold=True)
    sheet.put(edge, edge + 4.4, drawing.title)
    sheet.draw(drawing, edge, edge + head, width)
    return bytes(sheet.output())


class _Paper(Sheet):
    def __init__(self, report: Report, version: str) -> None:
        super().__init__(fonts_for(_letters(report)))
        self._report, self._version = report, version
        self._deepest = 0
        self._after = 0.0
        self._beside = 0.0  # the top of a small picture on the left that has room at its right
        self.set_margins(MARGIN, MARGIN, MARGIN)
        self.set_auto_page_break(True, BOTTOM)
        self.set_title(self.shown(report.title))
        self.set_creator(f"Efficiency Workbench {version}".strip())
        self.set_lang("en")
        self.alias_nb_pages()
        self.add_page()

    def footer(self) -> None:
        """The title and the page."""
        self.look(7.5, colour="muted")
        title = self.shown(self._report.title)
        short = title if len(title) <= 90 else f"{title[:89]}…"
        self.put(MARGIN, self.h - 9, short)
        self.set_xy(self.w - MARGIN - 40, self.h - 12)
        self.cell(40, 4, f"{self.page_no()} / {{nb}}", align="R")

    def write_block(self, block: Block, following: Block | None) -> None:
        """following: what comes after it; a heading stays with it, and small pictures stand side by side."""
        if not isinstance(block, Picture):
            self._beside = 0.0
        match block:
            case Heading():
                self._heading(block, 75 if isinstance(following, Picture) else 36 if block.level == 2 else 22)
            case Sentence():
                self._sentence(block)
            case Item():
                self._item(block)
            case Grid():
                self._grid(block)
            case Picture():
                self._picture(block)
            case File():
                self._file(block)

    def close_report(self) -> None:
        """What is at the end of every report: when it was made, the files within, and letters that could not be shown."""
        self.ln(4)
        for file in self._report.files:
            self.embed_file(bytes=file.text.encode(), basename=file.name, mime_type="application/toml", compress=True)
        names = ", ".join(file.name for file in self._report.files)
        within = f" Attached to this file, to run it again: {names}." if names else ""
        written = f"Written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by Efficiency Workbench {self._version}.{within}"
        self._flow([Span(written)], 7.5, "muted")
        if self.fonts_used.missing:
            text = f"{len(self.fonts_used.missing)} letters are in no font of the machine that wrote this and stand as question marks;"
            self._flow([Span(f"{text} a font that has them (Noto Sans for most scripts) mends it.")], 7.5, "warning")

    # --- Blocks -----------------------------------------------------------------------------------------------------------------------------

    @property
    def _width(self) -> float:
        return float(self.w - 2 * MARGIN)

    def _room(self, height: float) -> None:
        """A new page where less than that is left on this one."""
        if self.y + height > self.h - BOTTOM and self.y > MARGIN + 1:
            self.add_page()

    def _heading(self, block: Heading, keep: float) -> None:
        points = HEADINGS.get(block.level, 9.5)
        self.look(points, bold=True)
        lines = self.lines(block.text, self._width - 6)
        self._room(len(lines) * points / POINTS * LEADING + keep)
        self.ln({1: 0.0, 2: 6.0}.get(block.level, 3.0) if self.y > MARGIN + 1 else 0)
        if block.level <= self._deepest + 1:
            self.start_section(self.shown(block.text), level=block.level - 1)
            self._deepest = block.level
        self.look(points, bold=True)
        left = MARGIN
        if block.colour is not None:
            self.set_fill_color(self.ink(f"series-{block.colour % 8}"))
            self.circle(MARGIN + 1.3, self.y + points / POINTS * LEADING / 2, 1.2, style="F")
            left += 4.5
        for line in lines:
            self.set_x(left)
            self.cell(self._width, points / POINTS * LEADING, line, new_x="LMARGIN", new_y="NEXT")
        self.ln(1.2)

    def _sentence(self, block: Sentence) -> None:
        points, colour = {"small": (8.0, "muted"), "warning": (9.0, "warning"), "failure": (9.0, "danger")}.get(block.look, (9.5, "text"))
        indent = 6.0 if block.look == "quote" else 0.0
        self._flow(block.spans, points, colour, indent)
        self.ln(1.6)

    def _item(self, block: Item) -> None:
        indent = 5.0 + 5.0 * block.level
        self._room(2 * 9.5 / POINTS * LEADING)
        self.look(9.5)
        top = self.y
        mark = "•" if block.mark == "" else block.mark.strip()
        self.put(MARGIN + indent - 1.6, top + 0.7 * 9.5 / POINTS * LEADING, mark, anchor="end")
        self.set_y(top)
        self._flow(block.spans, 9.5, "text", indent)
        self.ln(0.6)

    def _flow(self, spans: Sequence[Span], points: float, colour: str, indent: float = 0.0) -> None:
        height = points / POINTS * LEADING
        if len(spans) == 1 and not spans[0].code and not spans[0].link:
            self.look(points, colour=colour, bold=spans[0].strong)
            self.set_x(MARGIN + indent)
            self.multi_cell(self._width - indent, height, self.shown(spans[0].text), align="L", new_x="LMARGIN", new_y="NEXT")
            return
        self.set_left_margin(MARGIN + indent)
        self.set_x(MARGIN + indent)
        for span in spans:
            self.look(points, bold=span.strong, code=span.code, colour="accent" if span.link else "muted" if span.slanted else colour)
            self.write(height, self.shown(span.text), link=span.link)
        self.set_left_margin(MARGIN)
        self.ln(height)

    def _picture(self, block: Picture) -> None:
        half = block.drawing.width <= 800
        width = (self._width - GAP) / 2 if half else self._width
        height = block.drawing.height * width / block.drawing.width
        room = self.h - BOTTOM - MARGIN - 14
        if height > room:
            width, height = width * room / height, room
        self.look(8.5, bold=True)
        lines = self.lines(block.drawing.title, width)
        step = 8.5 / POINTS * LEADING
        at_right = half and self._beside > 0
        if not at_right:
            self._room(height + len(lines) * step + 4)
        top, left = (self._beside, MARGIN + width + GAP) if at_right else (self.y, MARGIN)
        for number, line in enumerate(lines):
            self.look(8.5, bold=True)
            self.put(left, top + (number + 0.75) * step, line)
        self.draw(block.drawing, left, top + len(lines) * step + 1, width)
        self.set_xy(MARGIN, max(self._after if at_right else 0.0, top + len(lines) * step + height + 4))
        self._after = self.y
        self._beside = top if half and not at_right else 0.0

    def _file(self, block: File) -> None:
        self.look(7, code=True)
        height = 7 / POINTS * 1.3
        self.set_fill_color(self.ink("sunken"))
        for line in block.text.rstrip("\n").split("\n"):
            for part in self.lines(line.replace("\t", "    "), self._width - 4):
                self._room(height)
                self.look(7, code=True)
                self.set_fill_color(self.ink("sunken"))
                self.rect(MARGIN, self.y, self._width, height + 0.05, style="F")
                self.set_x(MARGIN + 2)
                self.cell(self._width - 4, height, part, new_x="LMARGIN", new_y="NEXT")
        self.ln(2)

    # --- Tables -----------------------------------------------------------------------------------------------------------------------------

    def _grid(self, grid: Grid) -> None:
        count = len(grid.head)
        first = 44.0 if not grid.plain else self._width / count if count > 2 else 40.0
        fitting = count - 1 if grid.plain else max(1, int((self._width - first) / NARROWEST))
        for start in range(1, max(count, 2), fitting):
            some = slice(start, start + fitting)
            rows = [[row[0], *row[some]] for row in grid.rows]
            self._table(Grid(grid.caption, [grid.head[0], *grid.head[some]], rows, grid.plain), first)

    def _table(self, grid: Grid, first: float) -> None:
        columns = len(grid.head) - 1
        widths = [first, *([(self._width - first) / max(columns, 1)] * columns)]
        points = 8.0 if columns <= 6 else 7.0
        self.ln(1)
        head = self._broken([[Line(text, points - 0.5, True, "muted")] for text in grid.head], widths)
        self._room(_height(head) + 14)
        self._row(head, widths, grid.plain)
        for row in grid.rows:
            cells = self._broken([self._cell(cell, points) for cell in row], widths)
            if self.y + _height(cells) > self.h - BOTTOM and self.y > 2 * MARGIN:
                self.add_page()
                self._row(head, widths, grid.plain)
            self._row(cells, widths, grid.plain)
        self.ln(3)

    def _cell(self, cell: Cell, points: float) -> list[Line]:
        """The parts of a cell, one below the other."""
        alone = cell.verdict == cell.text
        colour = _COLOURS.get(cell.verdict, "text")
        parts = [Line(cell.text, points, cell.strong, colour if alone else "text")]
        beside = " ".join(part for part in (cell.ratio, f"[{cell.interval}]" if cell.interval else "") if part)
        parts += [Line(beside, points - 1.3, False, "muted")] if beside else []
        parts += [Line(cell.verdict, points - 1.3, False, colour)] if cell.verdict and not alone else []
        return parts

    def _broken(self, cells: Sequence[Sequence[Line]], widths: Sequence[float]) -> list[list[Line]]:
        """Each cell in lines that fit its column; what is longer than anyone reads in a table ends with an ellipsis."""
        found = []
        for parts, width in zip(cells, widths, strict=True):
            lines: list[Line] = []
            for part in parts:
                self.look(part.points, bold=part.bold)
                texts = self.lines(part.text, width - 2)
                texts = texts if len(texts) <= TALLEST else [*texts[: TALLEST - 1], f"{texts[TALLEST - 1].rstrip()} …"]
                lines += [part._replace(text=text) for text in texts]
            found.append(lines)
        return found

    def _row(self, cells: Sequence[Sequence[Line]], widths: Sequence[float], left: bool) -> None:
        height = _height(cells)
        self._room(height)
        top, x = self.y, MARGIN
        automatic, self.auto_page_break = self.auto_page_break, False
        for index, (lines, width) in enumerate(zip(cells, widths, strict=True)):
            y = top + 1
            for line in lines:
                self.look(line.points, bold=line.bold, colour=line.colour)
                step = line.points / POINTS * 1.25
                at, anchor = (x + 1, "start") if index == 0 or left else (x + width - 1, "end")
                self.put(at, y + 0.75 * step, line.text, anchor=anchor)
                y += step
            x += width
        self.auto_page_break = automatic
        self.set_draw_color(self.ink("border"))
        self.set_line_width(0.2)
        self.line(MARGIN, top + height, MARGIN + self._width, top + height)
        self.set_xy(MARGIN, top + height)


def _height(cells: Sequence[Sequence[Line]]) -> float:
    return max(sum(line.points / POINTS * 1.25 for line in lines) for lines in cells) + 2.2


def _letters(report: Report) -> str:
    """Every text of a report."""
    found = [report.title, *(file.text for file in report.files)]
    for block in report.blocks:
        match block:
            case Heading() | File():
                found.append(block.text)
            case Sentence() | Item():
                found += [span.text for span in block.spans]
            case Grid():
                found += [*block.head, *(cell.text for row in block.rows for cell in row)]
            case Picture():
                found += [block.drawing.title, *(shape.text for shape in block.drawing.shapes)]
    return " ".join(found)
