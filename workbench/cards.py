"""A plugin's docstring as readable rich text: paragraphs, equations in a fixed-width font, links that open. No Qt."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

from workbench.schemas import MISSING, bounds, default, resolved, shape
from workbench.theme import Theme

_LINK = re.compile(r"(https?://[^\s<>()]+[^\s<>().,;])")
_CODE = re.compile(r"`([^`]+)`")
_NUMBERED = re.compile(r"^(.*\S)\s{3,}(\(\d+\w?\))$")
_LEAD = re.compile(r"^([A-Z][^.:]{2,40}):(?=\s)")


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
    """A paragraph; runs of lines inside it that are indented, or end in a number far out, are equations."""
    parts: list[str] = []
    words: list[str] = []
    equations: list[str] = []

    def flush() -> None:
        if words:
            parts.append(f"<p>{_inline(' '.join(words), theme)}</p>")
            words.clear()
        if equations:
            inside = "\n".join(html.escape(line) for line in _outdented(equations))
            parts.append(
                f"<table width='100%' cellpadding='10'><tr><td bgcolor='{theme.sunken}'>"
                f"<pre style='font-family: monospace; margin: 0'>{inside}</pre></td></tr></table>"
            )
            equations.clear()

    for line in block.split("\n"):
        indented = line.startswith("    ") or _NUMBERED.match(line) is not None
        if indented != bool(equations) and (words or equations):
            flush()
        if indented:
            equations.append(line)
        elif re.match(r"\s*[-*] ", line):
            flush()
            parts.append(f"<p style='margin-left: 14px'>• {_inline(line.strip()[2:], theme)}</p>")
        elif _LEAD.match(line) and words:
            flush()
            words.append(line.strip())
        else:
            words.append(line.strip())
    flush()
    return "".join(parts)


def _outdented(lines: list[str]) -> list[str]:
    """Without the common margin; equation numbers stand below each other, not far out at the right."""
    margin = min(len(line) - len(line.lstrip()) for line in lines)
    parted = [_NUMBERED.match(line[margin:].rstrip()) for line in lines]
    width = max((len(match[1].rstrip()) for match in parted if match), default=0)
    return [f"{match[1].rstrip():<{width}}    {match[2]}" if match else line[margin:].rstrip() for line, match in zip(lines, parted, strict=True)]


def _coded(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", html.escape(text))


def _inline(text: str, theme: Theme) -> str:
    escaped = _coded(text)
    escaped = _LINK.sub(rf"<a style='color:{theme.accent}' href='\1'>\1</a>", escaped)
    return _LEAD.sub(r"<b>\1:</b>", escaped)


def parameters_html(entry: Mapping[str, Any], theme: Theme) -> str:
    """The parameters as a table: name, default, allowed, meaning."""
    schema = entry.get("parameters") or {}
    definitions = schema.get("$defs", {})
    rows = []
    for key, property_ in schema.get("properties", {}).items():
        flat = resolved(property_, definitions)
        kind = shape(property_, definitions)
        given = default(property_, definitions)
        value = "required" if given is MISSING else "not set" if given is None else str(given)
        allowed = ", ".join(map(str, kind.options)) or bounds(kind) or kind.kind
        remark = " · ".join(text for text in (str(flat.get("symbol", "")), str(flat.get("unit", ""))) if text)
        rows.append(
            f"<tr><td><code>{html.escape(key)}</code><br><span style='color:{theme.muted}'>{html.escape(remark)}</span></td>"
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
