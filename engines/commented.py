"""TOML text of an experiment: new values written into the text they came from, so that comments and layout of untouched parts stay."""

from __future__ import annotations

import difflib
import re
import tomllib
from typing import Any

import tomlkit
from tomlkit.container import Container, OutOfOrderTableProxy
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Array, InlineTable, Table, Whitespace

Tree = dict[str, Any]
DOTTED = ("model", "training")
"""Tables of a variant that are written as dotted keys: `model.head = ...`; a whole model is one table: `model = { id = ... }`."""
_WIDTH = 140


def render(data: Tree, text: str = "") -> str:
    """`data` as TOML, written into `text` where that is given. What comes out reads as exactly `data`."""
    if not text:
        return fresh(data)
    try:
        if tomllib.loads(text) == data:
            return text
        document = tomlkit.parse(text)
        _reconcile(document, data)
        written = document.as_string()
        if tomllib.loads(written) == data:
            return written
    except (TOMLKitError, tomllib.TOMLDecodeError, KeyError, IndexError, AttributeError, TypeError, ValueError):
        # tomlkit stumbles over some layouts (dotted keys in arrays of tables, tables out of order) in ways of its own; the values are
        # safe in `data`, only the comments are lost by writing anew.
        pass
    return fresh(data)


def _reconcile(table: Any, data: Tree) -> None:
    """Change a parsed table until it holds `data`, touching only what differs."""
    for key in [key for key in table if key not in data]:
        del table[key]
    for key, value in data.items():
        if key not in table:
            _append(table, key, value)
            continue
        old = table[key]
        if _plain(old) == value:
            continue
        if isinstance(value, dict) and isinstance(old, Table | InlineTable | Container | OutOfOrderTableProxy) and set(old) & set(value):
            _reconcile(old, value)
        elif isinstance(old, AoT) and isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            _reconcile_list(old, value, _block)
        elif isinstance(old, Array) and isinstance(value, list):
            _reconcile_list(old, value, _inline)
        else:
            item = _block(value) if isinstance(old, AoT) and isinstance(value, dict) else _inline(value)
            if hasattr(old, "trivia") and hasattr(item, "trivia"):
                item.trivia.comment, item.trivia.comment_ws, item.trivia.trail = old.trivia.comment, old.trivia.comment_ws, old.trivia.trail
            table[key] = item


def _reconcile_list(items: Any, values: list[Any], make: Any) -> None:
    """Change a parsed array (of tables): equal items stay with their comments, changed ones are changed in place, others come or go."""
    old = [_identity(_plain(item)) for item in items]
    steps = difflib.SequenceMatcher(None, old, [_identity(value) for value in values], autojunk=False).get_opcodes()
    for kind, start, stop, first, last in reversed(steps):
        paired = stop - start if kind == "equal" else min(stop - start, last - first)
        for _ in range(stop - start - paired):
            del items[start + paired]
        for offset in range(last - first - paired):
            item = make(values[first + paired + offset])
            if isinstance(item, Table) and len(items):
                item.trivia.indent = "\n"  # a blank line before a new [[table]]
            items.insert(start + paired + offset, item)
        for offset in range(paired):
            item, value = items[start + offset], values[first + offset]
            if _plain(item) == value:
                continue
            if isinstance(value, dict) and isinstance(item, Table | InlineTable):
                _reconcile(item, value)
            else:
                items[start + offset] = make(value)


def _identity(value: Any) -> str:
    """What makes a part of a list the same part after an edit: its name or id; else its value."""
    if isinstance(value, dict):
        return str(value.get("name") or value.get("id") or sorted(value))
    return repr(value)


def _plain(item: Any) -> Any:
    return item.unwrap() if hasattr(item, "unwrap") else item


def _append(table: Any, key: str, value: Any) -> None:
    """A new key at the end of a table. At the top level tables become [tables]; below, inline ones."""
    if isinstance(table, tomlkit.TOMLDocument):
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            array = tomlkit.aot()
            for item in value:
                array.append(_block(item))
            table.append(key, array)
        elif isinstance(value, dict):
            table.append(key, _block(value))
        else:
            table.append(key, _inline(value))
    elif isinstance(table, Table) and _dotted(key, value):
        for inner, below in value.items():
            table.append(tomlkit.key([key, inner]), _inline(below))
    elif isinstance(table, Table):
        _append_above_blank_lines(table, key, value)
    else:
        table[key] = _inline(value)


def _append_above_blank_lines(table: Table, key: str, value: Any) -> None:
    """A new key behind the last one. What follows a blank line at the end of a table is said of the next one, and stays above that."""
    body = table.value.body
    last = next((place for place in reversed(range(len(body))) if body[place][0] is not None), -1)
    blank = next((place for place in range(last + 1, len(body)) if isinstance(body[place][1], Whitespace)), len(body))
    below = body[blank:]
    del body[blank:]
    table[key] = _inline(value)
    body.extend(below)


def _inline(value: Any) -> Any:
    return tomlkit.parse(f"value = {_value(value)}\n")["value"]


def _block(value: Tree) -> Table:
    """A [table] with its keys in order."""
    parsed = tomlkit.parse("[table]\n" + _lines(value, dotted=True) + "\n")["table"]
    assert isinstance(parsed, Table)
    return parsed


def fresh(data: Tree) -> str:
    """`data` as TOML without any text to keep, laid out as a person would write it."""
    plain = {key: value for key, value in data.items() if not isinstance(value, dict) and not _tables(value)}
    blocks = [_lines(plain)] if plain else []
    for key, value in data.items():
        if isinstance(value, dict):
            blocks.append(f"[{_key(key)}]\n{_lines(value)}".rstrip("\n"))
        elif _tables(value):
            blocks += [f"[[{_key(key)}]]\n{_lines(item, dotted=True)}".rstrip("\n") for item in value]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _lines(table: Tree, *, dotted: bool = False, prefix: str = "") -> str:
    """`key = value` lines. dotted: `model` and `training` of a variant become dotted keys."""
    lines = []
    for key, value in table.items():
        name = prefix + _key(key)
        if dotted and _dotted(key, value) and value:
            lines.append(_lines(value, prefix=f"{name}."))
        else:
            lines.append(f"{name} = {_value(value, len(name) + 3)}")
    return "\n".join(lines)


def _dotted(key: str, value: Any) -> bool:
    return key in DOTTED and isinstance(value, dict) and "id" not in value


def _value(value: Any, used: int = 0) -> str:
    """A value in TOML; a list that would run past the page stands on several lines."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_key(key)} = {_value(item)}' for key, item in value.items())} }}" if value else "{}"
    if isinstance(value, list):
        items = [_value(item) for item in value]
        line = f"[{', '.join(items)}]"
        if used + len(line) <= _WIDTH or not used or not items:
            return line
        return "[\n" + "".join(f"    {item},\n" for item in items) + "]"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10_000:
        return f"{value:_}"
    return str(tomlkit.item(value).as_string())


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else str(tomlkit.item(key).as_string())
