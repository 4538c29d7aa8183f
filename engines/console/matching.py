"""`workbench matches`: which weights or parts each technique of an experiment file finds in its model, before anything runs."""

from __future__ import annotations

import argparse
from typing import Any

from engines import catalogue as catalogues
from engines import experiment as experiments
from engines.asking import Inspector, InspectorError
from engines.console.output import RequestError, say, write_json
from engines.fixes import told
from engines.problems import ExperimentError, did_you_mean
from engines.submitting import checked_plans


def matches(arguments: argparse.Namespace) -> int:
    experiment, catalogue = experiments.load(arguments.file).override(arguments.changes), catalogues.read()
    with Inspector() as inspector:
        try:
            plans = checked_plans(experiment, catalogue, inspector)
        except ExperimentError as error:
            raise RequestError(told(error.problems, experiment, catalogue)) from error
        strange = [name for name in arguments.variant if name not in plans]
        if strange:
            hint = did_you_mean(strange[0], list(plans))
            raise RequestError(f'No variant is called "{strange[0]}"{f"; {hint}" if hint else "."}')
        try:
            found = {name: inspector.ask("matches", plan=plans[name])["matches"] for name in arguments.variant or plans}
        except InspectorError as error:
            raise RequestError(str(error)) from error
    if arguments.json:
        write_json(found)
        return 0
    for name, techniques in found.items():
        say(name if techniques else f"{name}: no technique that goes by types and patterns")
        for each in techniques:
            _tell(each)
    return 0


def _tell(found: dict[str, Any]) -> None:
    count = len(found["names"])
    nothing = "finds nothing" if found["left"] else "finds nothing: it would leave the model as it is"
    what = f"finds {count}, {found['weights']:,} numbers in all" if count else nothing
    say(f"  {found['id']} {what}")
    for line in (*found["names"], *found["left"]):
        say(f"    {line}")
