"""A plugin's docstring as readable rich text: paragraphs, equations as they are printed, examples as they stand, links that open. No Qt."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

from workbench.equations import block_html, numbered, typeset
from workbench.schemas import MISSING, bounds, default, resolved, shape
from workbench.theme import Theme

_LINK = re.compile(r"(https?://[^\s<>()]+[^\s<>().,;])")
_CODE = re.compile(r"`([^`]+)`")
_OF_SYMBOLS = re.compile(r"^(Symbols|Cost)(?=: )|^Equations\b|^[A-Za-z](?:_\w+)? \([A-Z0-9]")
"""Paragraphs that speak in the symbols of the equations, and look like them."""
_LEAD = re.compile(r"^([A-Z][^.:]{2,40}):(?=\s)")
_TERM = re.compile(r"^([a-z][\w /=,-]{0,23}):(?=\s)")
"""What is said of a parameter or one of its values, on a line of its own: "shared: one sample for all"."""
_SYMBOL = re.compile(r"(?<![\w.])(?:[A-Za-z]_(?:[A-Za-z0-9]{1,2}|\([^()\s]{1,9}\))|\w+\^(?:\w{1,2}|\([^()\s]{1,9}\)))(?!\w)")
"""A symbol with a script in running text. Names of parameters have longer words."""


def card_html(entry: Mapping[str, Any], theme: Theme) -> str:
    """The card below its title: text, equations, reference."""
    body = str(entry["card"]).split("\n", 1)
    text = body[1] if len(body) > 1 else ""
    parts = [_block(block, theme) for block in re.split(r"\n\s*\n", text.strip("\n")) if block.strip()]
    paper = str(entry.get("paper", ""))
    if paper and paper[:40] not in text:
        parts.append(f"<p style='color:{theme.muted}'>{_inline(paper, theme)}</p>")
    return "".join(parts)


def _block(block: str, theme: Theme) -> str:
    """A paragraph; runs of lines inside it that are indented, or end in a number far out, are equations where one has a number, else examples."""
    parts: list[str] = []
    words: list[str] = []
    equations: list[str] = []

    def flush() -> None:
        if words:
            parts.append(f"<p>{_inline(' '.join(words), theme)}</p>")
            words.clear()
        if equations:
            parts.append(block_html(equations, theme) if any(map(numbered, equations)) else _example(equations, theme))
            equations.clear()

    for line in block.split("\n"):
        indented = line.startswith("    ") or numbered(line)
        if indented != bool(equations) and (words or equations):
            flush()
        if indented:
            equations.append(line)
        elif re.match(r"\s*[-*] ", line):
            flush()
            parts.append(f"<p style='margin-left: 14px'>• {_inline(line.strip()[2:], theme)}</p>")
        elif words and (_LEAD.match(line) or (_TERM.match(line) and words[-1].endswith("."))):
            flush()
            words.append(line.strip())
        else:
            words.append(line.strip())
    flush()
    return "".join(parts)


def _example(lines: list[str], theme: Theme) -> str:
    """What a file or a program holds: in letters of one width, without the common margin."""
    margin = min(len(line) - len(line.lstrip()) for line in lines)
    inside = "\n".join(html.escape(line[margin:].rstrip()) for line in lines)
    return (
        f"<table width='100%' cellpadding='10'><tr><td bgcolor='{theme.sunken}'>"
        f"<pre style='font-family: monospace; margin: 0'>{inside}</pre></td></tr></table>"
    )


def _coded(text: str) -> str:
    parts = _CODE.split(text)  # words and what stood in backticks, in turns
    return "".join(f"<code>{html.escape(part)}</code>" if place % 2 else _words(part) for place, part in enumerate(parts))


def _words(text: str) -> str:
    """Running text, its symbols as in the equations."""
    out, place = [], 0
    for found in _SYMBOL.finditer(text):
        out += [html.escape(text[place : found.start()]), typeset(found[0])]
        place = found.end()
    return "".join((*out, html.escape(text[place:])))


def _inline(text: str, theme: Theme) -> str:
    escaped = typeset(text) if _OF_SYMBOLS.match(text) and not _LINK.search(text) else _coded(text)
    escaped = _LINK.sub(rf"<a style='color:{theme.accent}' href='\1'>\1</a>", escaped)
    return _TERM.sub(r"<b>\1:</b>", _LEAD.sub(r"<b>\1:</b>", escaped))


def parameters_html(entry: Mapping[str, Any], theme: Theme) -> str:
    """The parameters as a table: name, default, allowed, meaning."""
    schema = entry.get("parameters") or {}
    definitions = schema.get("$defs", {})
    rows = []
    for key, property_ in schema.get("properties", {}).items():
        flat = resolved(property_, definitions)
        kind = shape(property_, definitions)
        given = default(property_, definitions)
        value = "required" if given is MISSING else "not set" if given is None else str(given).lower() if isinstance(given, bool) else str(given)
        allowed = ", ".join(map(str, kind.options)) or bounds(kind) or ("true, false" if kind.kind == "boolean" else kind.kind)
        remark = " · ".join(text for text in (typeset(str(flat.get("symbol", ""))), html.escape(str(flat.get("unit", "")))) if text)
        below = f"<br><span style='color:{theme.muted}'>{remark}</span>" if remark else ""
        rows.append(
            f"<tr><td><code>{html.escape(key)}</code>{below}</td>"
            f"<td>{html.escape(value)}</td><td style='color:{theme.muted}'>{html.escape(allowed)}</td>"
            f"<td>{_coded(str(flat.get('description', '')))}</td></tr>"
        )
    if not rows:
        return f"<p style='color:{theme.muted}'>It has no parameters.</p>"
    heads = "".join(f"<th align='left' style='color:{theme.muted}'>{name}</th>" for name in ("Parameter", "Default", "Allowed", "Meaning"))
    return f"<table cellpadding='6' cellspacing='0' width='100%'><tr>{heads}</tr>{''.join(rows)}</table>"


def facts(entry: Mapping[str, Any]) -> list[str]:
    """Short facts for the line under the title: kind, slot, what it promises, what it needs."""
    found = [str(entry["kind"]) + (f" for the slot {entry['slot']}" if entry.get("slot") else "")]
    if entry["kind"] == "technique":
        promises = {"same": "bit-equal numbers", "close": "numbers equal within float tolerance", "different": "changes the numbers"}
        found.append(promises.get(str(entry.get("numerics")), ""))
        if entry.get("hooks"):
            found.append("hooks: " + ", ".join(entry["hooks"]))
    for key, words in (("group", "one of a kind: "), ("requires", "needs "), ("after", "comes after "), ("replaces", "replaces ")):
        value = entry.get(key)
        if value:
            found.append(words + (value if isinstance(value, str) else ", ".join(value)))
    return [fact for fact in found if fact]
