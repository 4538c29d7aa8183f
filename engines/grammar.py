"""The grammar of the command line: its verbs, what each can be told, and where it is answered.

Nothing but argparse is needed for it: a verb is a module of `engines.console` and a function there, imported when it is used.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

from engines.problems import did_you_mean

DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130
"""Exit codes."""

Verb = Callable[[str, str, str, str], argparse.ArgumentParser]
"""(name, module, function, help) -> the parser of the verb."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in a sentence, with the verb or option that was probably meant."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"{self.prog}: {message}\nSee: {self.prog} --help\n")
        raise SystemExit(WRONG)

    def parse_args(self, args=None, namespace=None):
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            verb = getattr(found, "verb", None)
            known = _options(self, verb)
            hints = [f'"{word}"' + (f" ({hint})" if (hint := did_you_mean(word, known, listed=False)) else "") for word in unknown]
            self.error(f"{verb or 'workbench'} does not know {', '.join(hints)}.")
        return found


def verbs(parser: argparse.ArgumentParser) -> list[str]:
    """The names of all verbs, in the order of the help."""
    return list(_subparsers(parser).choices)


def _options(parser: argparse.ArgumentParser, verb: str | None) -> list[str]:
    asked = _subparsers(parser).choices[verb] if verb else parser
    return [option for action in asked._actions for option in action.option_strings]


def _subparsers(parser: argparse.ArgumentParser) -> argparse._SubParsersAction:
    return next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))


def build_parser() -> argparse.ArgumentParser:
    """The grammar of the command line; nothing else is imported for it."""
    parser = _Parser(
        prog="workbench",
        description="Compare efficiency techniques for neural networks honestly. Without a verb the window opens.",
        epilog="Experiments are named by their number (3), runs by r and their number (r12). "
        "Exit codes: 0 all done, 1 a run failed or was cancelled elsewhere, 2 the request was wrong, 130 interrupted.",
    )
    adding = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=_Parser)

    def verb(name: str, module: str, function: str, help: str) -> argparse.ArgumentParser:
        added = adding.add_parser(name, help=help, description=help)
        added.set_defaults(module=module, function=function)
        return added

    for add in (
        _add_running, _add_sweeping, _add_queue, _add_timing, _add_profiling, _add_keeping, _add_comparing, _add_bundling, _add_neighbours,
        _add_studying, _add_catalogue,
    ):  # fmt: skip
        add(verb)
    return parser


def _add_running(verb: Verb) -> None:
    run = verb("run", "running", "run", "Run an experiment file, watch it, and print the comparison.")
    run.add_argument("file", metavar="FILE", help="the experiment (TOML or JSON)")
    run.add_argument(
        "--set", dest="changes", metavar="KEY=VALUE", action="append", default=[], help="change one key of the file, as in budget.tokens=50000"
    )
    run.add_argument("--smoke", action="store_true", help="a few steps of every variant: does it run at all?")
    run.add_argument("--profile", action="store_true", help="afterwards profile the training of one finished run of every variant")
    find = verb("matches", "matching", "matches", "Say which weights or parts each technique of a file finds in its model, before anything runs.")
    find.add_argument("file", metavar="FILE", help="the experiment (TOML or JSON)")
    find.add_argument("--variant", metavar="NAME", action="append", default=[], help="of this variant alone (default: of all)")
    find.add_argument("--set", dest="changes", metavar="KEY=VALUE", action="append", default=[], help="change one key of the file")
    find.add_argument("--json", action="store_true", help="for machines")
    demo = verb("demo", "running", "demo", "Run the starter experiment on the embedded corpus and write its report.")
    demo.add_argument("--headless", action="store_true", help="no window, also where there is a display")
    demo.add_argument("--html", metavar="OUT", help="where the report is written (default: beside the store)")
    demo.add_argument("--smoke", action="store_true", help="a few steps of every variant")
    demo.set_defaults(changes=[], profile=False)
    for asked in (run, demo):
        _store(asked)
        asked.add_argument("--json", metavar="OUT", help="write the comparison as JSON (-: standard output)")
        asked.add_argument("--quiet", action="store_true", help="no progress, only the outcome")
        _jobs(asked)


def _add_sweeping(verb: Verb) -> None:
    sweep = verb("sweep", "sweeping", "sweep", "Write an experiment file with a variant for each value of a field, or each combination of several.")
    sweep.add_argument(
        "--over", metavar="KEY=VALUES", action="append", required=True,
        help="as in pruning/magnitude.sparsity=0.5,0.7,0.9 or training.batch=8:64:4 (from, to, how many; :log for equal factors)",
    )  # fmt: skip
    sweep.add_argument("--together", action="store_true", help="the n-th values of all fields go together, instead of all combinations")
    sweep.add_argument("--most", type=int, metavar="N", default=200, help="refuse to make more variants (default: 200)")
    ablate = verb("ablate", "sweeping", "ablate", "Write an experiment file with variants that each lack one technique of a variant.")
    ablate.add_argument("--add-one", action="store_true", help="instead: the baseline with each technique alone")
    for asked in (sweep, ablate):
        asked.add_argument("file", metavar="FILE", help="the experiment (TOML or JSON)")
        asked.add_argument("--variant", metavar="NAME", help="of which variant (default: " + ("the baseline)" if asked is sweep else "the last one)"))
        asked.add_argument("--out", metavar="OUT", default="-", help="the file to write (default -: standard output)")
        asked.add_argument("--predict", action="store_true", help="say what training the new variants will take: tries out a few steps of each")
        asked.add_argument("--json", action="store_true", help="write JSON instead of TOML")


def _add_queue(verb: Verb) -> None:
    serve = verb("serve", "queue", "serve", "Serve the queue of a store in the foreground until Ctrl+C.")
    _store(serve)
    _jobs(serve)
    listing = verb("list", "queue", "list_experiments", "List the experiments of a store.")
    line = verb("queue", "queue", "show_queue", "Show what is running and queued with the time left; pause it, resume it, or move runs in it.")
    line.add_argument("act", nargs="?", choices=("pause", "resume", "first", "up", "down", "last"), help="default: show it")
    line.add_argument("ids", metavar="ID", nargs="*", help="to move: a run (r12), or all queued runs of an experiment (3)")
    show = verb("show", "queue", "show", "Show an experiment (3) or a run (r12).")
    show.add_argument("id", metavar="ID")
    for asked in (listing, line, show):
        _store(asked)
        asked.add_argument("--json", action="store_true", help="for machines")
    cancel = verb("cancel", "queue", "cancel", "Cancel a run, or all unfinished runs of an experiment.")
    resume = verb("resume", "queue", "resume", "Continue failed, cancelled or lost runs from their last checkpoint, and watch them.")
    for asked in (cancel, resume):
        asked.add_argument("ids", metavar="ID", nargs="+", help="an experiment (3) or a run (r12)")
        _store(asked)
    resume.add_argument("--failed", action="store_true", help="only failed and lost runs, not those that were cancelled")
    resume.add_argument("--quiet", action="store_true", help="no progress, only the outcome")
    _jobs(resume)
    listing.add_argument("--all", action="store_true", help="archived experiments too")
    listing.add_argument("--tag", metavar="NAME", help="only experiments with this tag")
    collect = verb("gc", "queue", "collect", "Free what deleted experiments still hold, and checkpoints nobody can resume.")
    _store(collect)
    for asked in (cancel, resume, collect):
        asked.add_argument("--json", action="store_true", help="for machines")


def _add_timing(verb: Verb) -> None:
    again = verb("time", "timing", "time_again", "Time the finished models of an experiment again, and compare them by the new figures.")
    again.add_argument("id", metavar="ID", help="an experiment (3) whose runs have ended")
    again.add_argument("--launches", type=int, metavar="N", help="how often the timed processes are started anew; intervals narrow with it")
    again.add_argument("--rounds", type=int, metavar="N", help="rounds in all of them (default with --launches: two in each)")
    again.add_argument("--seconds", type=float, metavar="S", help="length of one timed window")
    again.add_argument("--limit", type=float, metavar="S", help="seconds that the rounds of one session may take")
    again.add_argument("--until-narrow", action="store_true", help="go on, within the limit, until every ratio is known as closely as the margin")
    again.add_argument("--json", metavar="OUT", help="write the comparison as JSON (-: standard output)")
    again.add_argument("--quiet", action="store_true", help="no progress, only the outcome")
    _store(again)


def _add_profiling(verb: Verb) -> None:
    profile = verb("profile", "profiling", "profile", "Where a training step of a run spends its time and its memory: layers, operators, owners.")
    profile.add_argument("id", metavar="RUN", help="a run that has ended (r12)")
    profile.add_argument("--steps", type=int, metavar="N", default=10, help="plain steps that are timed (default: 10)")
    profile.add_argument("--json", metavar="OUT", help="write the profile as JSON (-: standard output)")
    _store(profile)
    sensitive = verb("sensitivity", "sensitivity", "measure", "How much quality a finished model loses when one layer alone is pruned or rounded.")
    sensitive.add_argument("id", metavar="RUN", help="a run that is done (r12)")
    sensitive.add_argument("--bits", metavar="LIST", help="round to so many bits, as in 4,3 (default: 8,4,3,2)")
    sensitive.add_argument("--sparsity", metavar="LIST", help="prune the smallest weights to these shares, as in 0.5,0.9")
    sensitive.add_argument("--tokens", type=int, metavar="N", help="validation targets that are judged (default: as many as the run was judged on)")
    sensitive.add_argument("--allow", metavar="NATS", default="0.01", help="what the suggested mix may lose a target (default: 0.01)")
    sensitive.add_argument("--json", action="store_true", help="for machines")
    _store(sensitive)


def _add_keeping(verb: Verb) -> None:
    note = verb("note", "keeping", "write_note", "Write a note beside an experiment (3) or a run (r12); without words show those there are.")
    note.add_argument("id", metavar="ID")
    note.add_argument("words", metavar="WORD", nargs="*")
    tag = verb("tag", "keeping", "tag", "Put tags on an experiment, or take them off; without any show those it has.")
    tag.add_argument("id", metavar="ID")
    tag.add_argument("names", metavar="NAME", nargs="*")
    tag.add_argument("--remove", metavar="NAME", action="append", default=[], help="take this tag off")
    star = verb("star", "keeping", "star", "Star an experiment.")
    archive = verb("archive", "keeping", "archive", "Leave an experiment out of lists; nothing of it is lost.")
    for asked in (star, archive):
        asked.add_argument("id", metavar="ID")
        asked.add_argument("--off", action="store_true", help="take it back")
    for asked in (note, tag, star, archive):
        asked.add_argument("--json", action="store_true", help="for machines")
        _store(asked)
    delete = verb("delete", "keeping", "delete", "Delete experiments: gone from lists at once, back with restore, freed by gc.")
    restore = verb("restore", "keeping", "restore", "Bring deleted experiments back; without an ID list those that can be.")
    for asked in (delete, restore):
        asked.add_argument("ids", metavar="ID", nargs="+" if asked is delete else "*", help="an experiment (3)")
        _store(asked)


def _add_comparing(verb: Verb) -> None:
    compare = verb("compare", "comparing", "compare", "Compare the variants of experiments.")
    compare.add_argument("ids", metavar="ID", nargs="+", help="experiments (3)")
    for option, help in (
        ("json", "JSON"),
        ("csv", "comma-separated values"),
        ("markdown", "the report as Markdown"),
        ("latex", "the report as LaTeX"),
        ("html", "the report as a self-contained page"),
        ("pdf", "the report as PDF"),
    ):
        compare.add_argument(f"--{option}", metavar="OUT", help=f"write {help}" + (" (-: standard output)" if option not in ("html", "pdf") else ""))
    _store(compare)
    report = verb("report", "reporting", "report", "Write the report of experiments: the sections you choose, with your own text between.")
    report.add_argument("ids", metavar="ID", nargs="+", help="experiments (3)")
    forms = ("html", "pdf", "markdown", "latex", "csv", "json", "zip", "design")
    report.add_argument("--format", choices=forms, default="html", help="default: html; zip: everything, and each chart as SVG, PDF and PNG")
    report.add_argument("--design", metavar="FILE", help="its description (TOML; --format design writes one to begin with)")
    report.add_argument("--out", metavar="OUT", help="the file (-: standard output; default: here, named as the experiment)")
    report.add_argument("--keep", action="store_true", help="keep the description with the experiment, for the window and for later reports")
    _store(report)
    export = verb("export", "exporting", "export", "Write the finished model of a run, checked and with a card; its word vectors, or its points.")
    export.add_argument("id", metavar="RUN", help="a run (r12)")
    export.add_argument("--format", choices=("safetensors", "torch-export", "onnx", "word2vec", "csv", "json"), required=True)
    export.add_argument("out", metavar="OUT", help="the file to write (-: standard output, for csv and json)")
    _store(export)
    for asked in (report, export):
        asked.add_argument("--json", action="store_true", help="say what was written for machines")


def _add_bundling(verb: Verb) -> None:
    bundle = verb("bundle", "bundling", "bundle", "Write an experiment with its results, curves and models into one file, for somebody else to open.")
    bundle.add_argument("id", metavar="ID", help="an experiment (3)")
    bundle.add_argument("--out", metavar="OUT", help="the file (default: experiment-ID.workbench, here)")
    bundle.add_argument("--without-weights", action="store_true", help="figures and curves only, no finished models")
    bundle.add_argument("--json", action="store_true", help="say what was written for machines")
    _store(bundle)
    look = verb("open", "bundling", "look", "Open a bundle read-only: in the window, or its comparison here.")
    look.add_argument("file", metavar="BUNDLE")
    look.add_argument("--copy", action="store_true", help="its experiment as a new one, not saved yet, in the window of your own store")
    look.add_argument("--headless", action="store_true", help="no window, also where there is a display")
    look.add_argument("--json", action="store_true", help="the comparison for machines")


def _add_neighbours(verb: Verb) -> None:
    near = verb("neighbours", "neighbours", "neighbours", "Show the words whose vectors are nearest in the finished model of a run.")
    near.add_argument("id", metavar="RUN", help="a run (r12)")
    near.add_argument("words", metavar="WORD", nargs="+", help="each word by itself; with --minus their sum")
    near.add_argument("--minus", metavar="WORD", action="append", default=[], help="take this word away, as in: king woman --minus man")
    near.add_argument("-k", type=int, metavar="N", default=10, help="how many (default: 10)")
    near.add_argument("--json", action="store_true", help="for machines")
    _store(near)


def _add_studying(verb: Verb) -> None:
    study = verb("study", "studying", "study", "Measure one operation over sizes; without an ID list the studies, with a number show a measured one.")
    study.add_argument("id", metavar="ID", nargs="?", help="as in studies/matmul, or the number of one that was measured")
    study.add_argument("--set", dest="changes", metavar="KEY=VALUE", action="append", default=[], help="change one parameter, as in largest=1024")
    study.add_argument("--json", metavar="OUT", help="write the result as JSON (-: standard output)")
    study.add_argument("--quiet", action="store_true", help="no progress, only the outcome")
    _store(study)


def _add_catalogue(verb: Verb) -> None:
    catalogue = verb("catalogue", "cataloguing", "catalogue", "List blocks, techniques, tasks, corpora and studies, or show the card of one.")
    verify = verb("verify", "cataloguing", "verify", "Check the certificates of one plugin, or of all, on this machine.")
    for asked in (catalogue, verify):
        asked.add_argument("id", metavar="ID", nargs="?", help="as in softmax/adaptive")
        asked.add_argument("--json", action="store_true", help="for machines")
    for name, kind, help in (
        ("batch", int, "rows"), ("length", int, "sequence length"), ("width", int, "model width"), ("vocabulary", int, "token types"),
        ("device", str, "cpu, cuda ..."), ("dtype", str, "float64, float32, bfloat16 ..."), ("seed", int, "seed"),
    ):  # fmt: skip
        verify.add_argument(f"--{name}", type=kind, help=help)
    new = verb("new", "cataloguing", "new", "Write the file and the test of a technique of your own.")
    new.add_argument("what", choices=("technique",))
    new.add_argument("id", metavar="FAMILY/NAME")
    new.add_argument("--into", metavar="FOLDER", default=".", help="the folder of your package (default: here)")
    doctor = verb("doctor", "doctor", "doctor", "Say what of the workbench works on this machine, and what does not.")
    doctor.add_argument("--json", action="store_true", help="for machines")
    doctor.add_argument("--measure", action="store_true", help="measure what this machine can do at best: operations, bytes, starts (seconds)")
    doctor.add_argument("--device", help="with --measure: this device alone (cpu, cuda ...)")
    doctor.add_argument("--threads", type=int, metavar="N", help="with --measure: so many threads (default: 1, and the default of runs)")
    _store(doctor)


def _store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", metavar="URL", help="SQLAlchemy URL or file of the store (default: WORKBENCH_STORE, else your own)")


def _jobs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, metavar="N", help="runs at once, where this starts the supervisor (default: WORKBENCH_JOBS, else 1)")
