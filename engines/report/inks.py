"""How shapes look: one table of classes for the page's style sheet, for pictures of their own, and for paper."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from engines.report.drawing import Shape

RESOURCES = Path(__file__).resolve().parents[2] / "resources"

Look = Mapping[str, str]
LOOKS: Mapping[str, Look] = {
    "tick": {"fill": "var(--muted)", "font-size": "11.5"},
    "axis-title": {"fill": "var(--muted)"},
    "heading": {"font-weight": "600"},
    "verdict": {"fill": "var(--muted)", "font-size": "11.5"},
    "better": {"fill": "var(--ok)", "font-weight": "600"},
    "worse": {"fill": "var(--danger)", "font-weight": "600"},
    "no-practical-difference": {"fill": "var(--text)"},
    "not-enough-data": {"fill": "var(--muted)"},
    "in-flame": {"font-size": "11.5"},
    "grid": {"stroke": "var(--grid)", "stroke-width": "1"},
    "axis": {"stroke": "var(--strong)", "stroke-width": "1"},
    "one": {"stroke": "var(--text)", "stroke-width": "1.2"},
    "roof": {"fill": "none", "stroke": "var(--text)", "stroke-width": "1.6"},
    "front": {"fill": "none", "stroke": "var(--strong)", "stroke-width": "1.4", "stroke-dasharray": "5 4"},
    "curve": {"fill": "none", "stroke-width": "1.3", "stroke-linejoin": "round"},
    "whisker": {"stroke-width": "1.4", "opacity": ".6"},
    "interval": {"stroke-width": "1.8"},
    "band": {"fill": "var(--sunken)"},
    "on-front": {"fill": "var(--mark)", "stroke": "var(--surface)", "stroke-width": "1.5"},
    "beaten": {"fill": "var(--surface)", "stroke": "var(--mark)", "stroke-width": "2.2", "opacity": ".55"},
    "pale": {"opacity": ".55"},
    "known": {"fill": "var(--mark)", "stroke": "var(--surface)", "stroke-width": "1"},
    "unknown": {"fill": "var(--surface)", "stroke": "var(--mark)", "stroke-width": "1.8"},
    "control": {"fill": "var(--surface)", "stroke": "var(--muted)", "stroke-width": "1.5"},
    "flame": {"fill": "var(--accent)", "opacity": ".34"},
    "depth-1": {"opacity": ".26"},
    "depth-2": {"opacity": ".2"},
    "depth-3": {"opacity": ".3"},
    "owner": {"stroke": "var(--surface)", "stroke-width": ".6"},
    "over": {"opacity": ".4"},
    "name": {"paint-order": "stroke", "stroke": "var(--surface)", "stroke-width": "3"},
}
"""Class -> properties of SVG; of several classes of a shape the later in this table wins. Texts are 12 pixels of the text's colour."""
_ELEMENTS: Mapping[str, Look] = {"text": {"fill": "var(--text)", "font-size": "12"}}


def style_sheet() -> str:
    """The table as CSS, lengths in pixels."""
    rules = {"svg text": {**_ELEMENTS["text"], "font-family": 'system-ui, "Segoe UI", Arial, sans-serif'}}
    rules |= {f"svg .{name}": dict(look) for name, look in LOOKS.items()}
    return "\n".join(f"{name} {{ {' '.join(f'{key}: {_px(key, value)};' for key, value in look.items())} }}" for name, look in rules.items())


def look_of(shape: Shape, colours: Mapping[str, str]) -> dict[str, str]:
    """The properties of one shape with plain colours: its classes, then its own style."""
    own = dict(re.findall(r"([\w-]+):\s*([^;]+)", str(shape.attributes.get("style", ""))))
    variables = {**colours, **{key[2:]: value for key, value in own.items() if key.startswith("--")}}
    classes = str(shape.attributes.get("class", "")).split()
    found = dict(_ELEMENTS.get(shape.element, {}))
    for name, look in LOOKS.items():
        if name in classes:
            found.update(look)
    found.update({key: value for key, value in own.items() if not key.startswith("--")})
    return {key: _plain(value, variables) for key, value in found.items()}


@cache
def colours(theme: str = "light") -> dict[str, str]:
    """The window's own colours, so that report and window look alike: name -> #RRGGBB, the series as series-0 and on."""
    table = json.loads((RESOURCES / "theme" / f"{theme}.json").read_text(encoding="utf-8"))
    series = {f"series-{index}": colour for index, colour in enumerate(table["series"])}
    return {key: value for key, value in table.items() if isinstance(value, str)} | series


def _plain(value: str, variables: Mapping[str, str]) -> str:
    while found := re.fullmatch(r"var\(--([\w-]+)\)", value.strip()):
        value = variables[found[1]]
    return value.strip()


def _px(key: str, value: str) -> str:
    return f"{value}px" if key in ("font-size", "stroke-width") else value
