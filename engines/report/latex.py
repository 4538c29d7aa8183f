"""A report as LaTeX to \\input into a paper: tables of booktabs that break over pages, text, and every sign of the language escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from engines.report.blocks import Block, Cell, File, Grid, Heading, Item, Picture, Report, Sentence, Span

NEEDS = ("booktabs", "longtable", "graphicx")
WIDEST = 5
"""Columns of a table; what is left stands in a further one below, with the names again."""
LONG = 24
"""Letters of a cell beyond which its column breaks lines."""
_LEVELS = {1: "section", 2: "subsection", 3: "subsubsection"}
_VERDICTS = {"better": "\\textbf{%s}", "worse": "\\textit{%s}", "not enough data": "(%s)", "simulated": "\\textsl{%s}"}
_LEGEND = "Better in bold, worse in italics, undecided in parentheses, simulated slanted."


def latex(report: Report, charts: str = "") -> str:
    """The text. charts: the folder, as seen from the file, where the pictures lie as PDF; without one those with figures stand as tables."""
    lines = [f"% Needs \\usepackage{{{','.join(NEEDS)}}}.", ""]
    listed = False
    for block in (report if charts else report.in_words()).blocks:
        if listed != isinstance(block, Item):
            lines.append("\\end{itemize}" if listed else "\\begin{itemize}")
            listed = not listed
        lines += _written(block, charts)
    return "\n".join([*lines, *(["\\end{itemize}"] if listed else []), ""])


def _written(block: Block, charts: str) -> Iterator[str]:
    match block:
        case Heading():
            level = _LEVELS.get(block.level, "paragraph")
            yield f"\n\\{level}*{{{tex(block.text)}}}"
        case Sentence():
            text = _spans(block.spans)
            size = "\\footnotesize " if block.look == "small" else ""
            yield f"\n\\begin{{quote}}\n{text}\n\\end{{quote}}" if block.look == "quote" else f"\n{{{size}{text}\\par}}"
        case Item():
            mark = "" if block.mark == "" else f"[{tex(block.mark.strip())}]"
            yield f"  \\item{mark}{{}} {_indent(block.level)}{_spans(block.spans)}"
        case Grid():
            yield from _tables(block)
        case Picture():
            if charts:
                yield f"\n\\begin{{center}}\n  \\includegraphics[width=\\linewidth]{{{charts}/{block.name}.pdf}}\n\\end{{center}}"
            if block.instead:
                yield from _tables(block.instead)
        case File():
            yield "\n{\\footnotesize\\ttfamily\\raggedright\\noindent"
            yield from (f"{re.sub('^ +', lambda blanks: '~' * len(blanks[0]), tex(line, tight=False)) or '~'}\\\\" for line in block.text.split("\n"))
            yield "\\par}"


def _tables(grid: Grid) -> Iterator[str]:
    """As many as the columns need."""
    width = len(grid.head) if grid.plain else WIDEST
    for start in range(1, max(len(grid.head), 2), width - 1):
        part = slice(start, start + width - 1)
        rows = [[row[0], *row[part]] for row in grid.rows]
        yield from _table(Grid(grid.caption if start == 1 else f"{grid.caption} (continued)", [grid.head[0], *grid.head[part]], rows, grid.plain))


def _table(grid: Grid) -> Iterator[str]:
    count = len(grid.head)
    judged = any(cell.verdict and cell.verdict != cell.text for row in grid.rows for cell in row)
    longest = [max((len(row[index].text) for row in grid.rows), default=0) for index in range(count)]
    broken = [grid.plain or max(len(grid.head[index]), longest[index]) > LONG for index in range(count)]
    share = f"p{{{min(0.28, (0.9 if all(broken) else 0.56) / max(1, sum(broken))):.2f}\\linewidth}}"
    columns = "".join(share if broken[index] else "r" if index else "l" for index in range(count))
    head = " & ".join(tex(text) for text in grid.head)
    yield f"\n{{\\footnotesize\\setlength{{\\tabcolsep}}{{3pt}}\n\\begin{{longtable}}{{{columns}}}"
    if grid.caption:
        yield f"  \\caption{{{tex(grid.caption)}{f' {_LEGEND}' if judged else ''}}}\\\\"
    top = f"  \\toprule\n  {head} \\\\\n  \\midrule"
    yield f"{top}\n  \\endfirsthead\n{top}\n  \\endhead\n  \\bottomrule\n  \\endlastfoot"
    yield from (f"  {' & '.join(map(_cell, row))} \\\\" for row in grid.rows)
    yield "\\end{longtable}}"


def _cell(cell: Cell) -> str:
    value = f"\\textbf{{{tex(cell.text)}}}" if cell.strong else tex(cell.text)
    ratio = cell.ratio.replace("x", "$\\times$")
    shape = _VERDICTS.get(cell.verdict, "%s")
    if not ratio:
        return value if cell.verdict in ("", cell.text) else shape % value
    if not cell.interval:
        return f"{value} \\, {shape % ratio}"
    # The interval below its figure: side by side, six columns are wider than a page.
    return f"\\shortstack[r]{{{value} \\, {shape % ratio}\\\\{{\\scriptsize [{tex(cell.interval)}]}}}}"


def _spans(spans: Sequence[Span]) -> str:
    return "".join(map(_span, spans))


def _span(span: Span) -> str:
    text = tex(span.text, tight=False).replace("\n", "\\newline{}")
    for wanted, command in ((span.code, "texttt"), (span.slanted, "emph"), (span.strong, "textbf")):
        text = f"\\{command}{{{text}}}" if wanted else text
    return f"{text} (\\texttt{{{tex(span.link)}}})" if span.link and span.link != span.text else text


def _indent(level: int) -> str:
    return f"\\hspace*{{{1.2 * level:g}em}}" if level else ""


_SIGNS = {
    "\\": "\\textbackslash{}", "{": "\\{", "}": "\\}", "&": "\\&", "%": "\\%", "$": "\\$", "#": "\\#", "_": "\\_\\allowbreak{}",
    "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}", ">": "\\textgreater{}", '"': "\\textquotedbl{}",
    "'": "\\textquotesingle{}", "`": "\\textasciigrave{}", "|": "\\textbar{}", "[": "{[}", "]": "{]}", "-": "{-}", "…": "\\ldots{}",
    "×": "$\\times$", "·": "$\\cdot$", "→": "$\\to$", "±": "$\\pm$", "−": "$-$", "≤": "$\\leq$", "≥": "$\\geq$", "µ": "$\\mu$",
    "–": "--", "—": "---", "„": "\\quotedblbase{}", "“": "\\textquotedblleft{}", "”": "\\textquotedblright{}", "‘": "\\textquoteleft{}",
    "’": "\\textquoteright{}",
}  # fmt: skip

def tex(text: str, *, tight: bool = True) -> str:
    """Inert in LaTeX. What only the engines of Unicode can set, pdfTeX shows as numbers. tight: runs of blanks become one."""
    text = " ".join(text.split()) if tight else text.replace("\t", "    ")
    return "".join(_SIGNS.get(part, part) if len(part) == 1 and part in _SIGNS else _set(part) for part in _parts(text))


def _parts(text: str) -> Iterator[str]:
    """Single signs, and runs of what not every engine knows."""
    run = ""
    for sign in text:
        if _foreign(sign):
            run += sign
            continue
        if run:
            yield run
            run = ""
        yield sign
    if run:
        yield run


def _foreign(sign: str) -> bool:
    """Whether it is beyond what every engine sets with its usual fonts: ASCII, and of Latin-1 and Latin Extended-A what T1 has."""
    return not (sign in _SIGNS or " " <= sign <= "~" or sign == "\n" or ("\u00a0" < sign <= "\u017f" and sign not in "\u00ad¸ĦħĸĿŀŉŦŧſ"))


def _set(part: str) -> str:
    if not _foreign(part[0]):
        return part
    shown = "".join(sign for sign in part if sign.isprintable())
    numbers = " ".join(f"U+{ord(sign):04X}" for sign in shown)
    return f"\\ifdefined\\Umathcode {shown}\\else [{numbers}]\\fi{{}}" if shown else ""
