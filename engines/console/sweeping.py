"""`workbench sweep`, `workbench ablate`: an experiment file with more variants, written as a file or to standard output."""

from __future__ import annotations

import argparse
from pathlib import Path

from engines import catalogue as catalogues
from engines import experiment as experiments
from engines import sweeping
from engines.console.output import RequestError, note, write_json, write_text
from engines.experiment import Experiment, dump
from engines.keypaths import KeyPathError
from engines.predicting import PredictionError, Predictor, training_seconds


def sweep(arguments: argparse.Namespace) -> int:
    experiment, catalogue = experiments.load(arguments.file), catalogues.read()
    try:
        axes = [sweeping.axis(text) for text in arguments.over]
    except KeyPathError as error:
        raise RequestError(f"{error}.") from error
    swept = sweeping.sweep(experiment, axes, catalogue, variant=arguments.variant or "", together=arguments.together, most=arguments.most)
    return _write(experiment, swept, arguments)


def ablate(arguments: argparse.Namespace) -> int:
    experiment, catalogue = experiments.load(arguments.file), catalogues.read()
    return _write(experiment, sweeping.ablate(experiment, catalogue, variant=arguments.variant or "", add_one=arguments.add_one), arguments)


def _write(before: Experiment, after: Experiment, arguments: argparse.Namespace) -> int:
    new = [each.name for each in after.variants[len(before.variants) :]]
    runs = len(after.variants) * len(after.seeds)
    note(f"{len(new)} variants more: {', '.join(new)}. With the others and {len(after.seeds)} seed(s) that is {runs} runs.")
    if arguments.predict:
        _predict(after, new)
    if arguments.json:
        write_json(after.data, arguments.out)
    else:
        write_text(dump(after), arguments.out)
    if arguments.out != "-":
        note(f"Wrote {Path(arguments.out).expanduser().absolute()}")
    return 0


def _predict(after: Experiment, new: list[str]) -> None:
    """What training the new variants will take: a few steps of each are tried out, one after another."""
    plans, total, unknown = after.plans(), 0.0, []
    for name in new:
        try:
            with Predictor(plans[name]) as predictor:
                seconds = training_seconds(plans[name], predictor.answer())
        except PredictionError as error:
            note(f"{name}: not known: {error}")
            seconds = None
        if seconds is None:
            unknown.append(name)
        else:
            note(f"{name}: {seconds:,.0f} s of training for each seed")
            total += float(seconds) * len(after.seeds)
    if len(unknown) < len(new):
        note(f"Training them takes about {total / 60:,.1f} min in all" + (f", {len(unknown)} of them not counted." if unknown else "."))
