"""`workbench catalogue`, `verify`, `new technique`: what can be used, whether it holds, and how one's own is begun."""

from __future__ import annotations

import argparse
from typing import Any

from engines import catalogue as catalogues
from engines import scaffold
from engines.asking import Inspector, InspectorError
from engines.console.output import RequestError, columns, note, say, write_json
from engines.problems import did_you_mean

TRIAL = ("batch", "length", "width", "vocabulary", "device", "dtype", "seed")


def catalogue(arguments: argparse.Namespace) -> int:
    found = catalogues.read()
    if arguments.id:
        entry = found["plugins"][_known(found, arguments.id)]
        if arguments.json:
            write_json(entry)
        else:
            _print_card(entry)
    elif arguments.json:
        write_json(found)
    else:
        entries = sorted(found["plugins"].values(), key=lambda entry: (entry["kind"], entry["id"]))
        say(columns(["id", "kind", "title"], [[entry["id"], _kind(entry), f"{entry['title']}{_trouble(entry)}"] for entry in entries]))
    return 0


def _known(found: dict[str, Any], name: str) -> str:
    """The id a person meant: itself, or what was once called so."""
    plugins = found["plugins"]
    if name in plugins:
        return name
    for id, entry in plugins.items():
        if name in entry["was"]:
            return str(id)
    raise RequestError(f'There is no plugin "{name}" in the catalogue; {did_you_mean(name, plugins) or "workbench catalogue lists them"}')


def _kind(entry: dict[str, Any]) -> str:
    return f"{entry['kind']} ({entry['slot']})" if entry.get("slot") else str(entry["kind"])


def _trouble(entry: dict[str, Any]) -> str:
    reason = entry.get("error") or ("" if entry["available"]["ok"] else entry["available"]["reason"])
    return f"  [not usable here: {str(reason).strip().splitlines()[-1]}]" if reason else ""


def _print_card(entry: dict[str, Any]) -> None:
    say(f"{entry['id']}  {_kind(entry)}{_trouble(entry)}")
    say()
    say(entry["card"] or entry["error"])
    if entry["paper"]:
        say(f"\nPaper: {entry['paper']}")
    properties = entry["parameters"].get("properties", {})
    if properties:
        say("\nParameters:")
        required = entry["parameters"].get("required", [])
        rows = [
            [f"  {name}", _type(field), "required" if name in required else _shown(field.get("default")), _help(field)]
            for name, field in properties.items()
        ]
        say(columns(["  name", "type", "default", ""], rows))
    for key in ("hooks", "requires", "after", "replaces", "certificates"):
        if entry.get(key):
            say(f"\n{key}: {', '.join(entry[key])}")
    for other, reason in entry.get("conflicts", {}).items():
        say(f"\nnot with {other}: {reason}")
    say(f"\nSource: {entry['source']}")


def _type(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " | ".join(map(str, field["enum"]))
    kinds = [option.get("type", "value") for option in field.get("anyOf", [field])]
    return " | ".join(kinds)


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)


def _help(field: dict[str, Any]) -> str:
    unit = f" [{field['unit']}]" if field.get("unit") else ""
    return f"{field.get('description', '')}{unit}"


# --- Certificates ---------------------------------------------------------------------------------------------------------------------------


def verify(arguments: argparse.Namespace) -> int:
    """Exit code 0 where every certificate holds, 1 where one does not. Raises InspectorError for a trial that cannot be made here."""
    found = catalogues.read()
    plugins = found["plugins"]
    ids = (
        [_known(found, arguments.id)] if arguments.id else [id for id, entry in plugins.items() if entry["certificates"] and entry["available"]["ok"]]
    )
    if arguments.id and not plugins[ids[0]]["certificates"]:
        raise RequestError(f"{ids[0]} states no certificate.")
    trial = {name: value for name in TRIAL if (value := getattr(arguments, name)) is not None}
    checked: list[dict[str, Any]] = []
    with Inspector() as inspector:
        # A trial that cannot be is one refusal, not a failure of every plugin.
        inspector.ask("trial", trial=trial)
        for id in ids:
            try:
                checked += [{"id": id, **each} for each in inspector.ask("verify", plugin=id, trial=trial)]
            except InspectorError as error:
                checked.append({"id": id, "statement": "", "error": None, "tolerance": None, "holds": False, "reason": str(error)})
    if arguments.json:
        write_json(checked)
    else:
        for each in checked:
            measured = f"error {each['error']:.3g}, allowed {each['tolerance']:.3g}" if each["error"] is not None else each.get("reason", "")
            say(f"{'holds' if each['holds'] else 'FAILS'}  {each['id']}: {each['statement']} ({measured})")
    broken = [each for each in checked if not each["holds"]]
    if broken:
        note(f"{len(broken)} of {len(checked)} certificates do not hold.")
    return 1 if broken else 0


# --- One's own ------------------------------------------------------------------------------------------------------------------------------


def new(arguments: argparse.Namespace) -> int:
    for path in scaffold.new_technique(arguments.id, arguments.into):
        say(str(path))
    note(scaffold.advice(arguments.into))
    return 0
