"""`workbench neighbours`: the words near a word in the finished model of a run."""

from __future__ import annotations

import argparse

from engines.asking import Inspector
from engines.console.opening import existing_run, opened
from engines.console.output import columns, run_id, say, write_json


def neighbours(arguments: argparse.Namespace) -> int:
    number = run_id(arguments.id)
    with opened(arguments, looking=True) as store:
        existing_run(store, number)
        url = store.url
    asked = [arguments.words] if arguments.minus else [[word] for word in arguments.words]
    with Inspector() as inspector:
        found = [
            inspector.ask("neighbours", store=url, run=number, plus=plus, minus=arguments.minus, k=arguments.k) for plus in asked
        ]
    if arguments.json:
        write_json(found)
        return 0
    for answer in found:
        plus, minus = answer["words"][: len(answer["words"]) - len(arguments.minus)], answer["words"][len(answer["words"]) - len(arguments.minus) :]
        say(" - ".join([" + ".join(plus), *minus]))
        say(columns(["word", "cosine", "count"], [[near["word"], f"{near['cosine']:.3f}", f"{near['count']:,}"] for near in answer["neighbours"]]))
    return 0
