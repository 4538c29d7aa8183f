"""The command line: a line of words in, an answer and an exit code out. What can be asked: `engines.grammar`.

Experiments are named by their number (`3`), runs by `r` and their number (`r12`).
Exit codes: 0 all done; 1 a run failed or was cancelled elsewhere, or a check found something; 2 the request was wrong; 130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import sys

from engines.grammar import DONE, INTERRUPTED, WRONG, build_parser, verbs
from engines.problems import did_you_mean

_REFUSALS = {
    "engines.console.output": "RequestError",
    "engines.problems": "ExperimentError",
    "engines.store.database": "StoreError",
    "engines.launching": "LaunchError",
    "engines.asking": "InspectorError",
    "engines.catalogue": "CatalogueError",
    "engines.comparison": "ComparisonError",
    "engines.exporting": "ExportError",
    "engines.profiling": "ProfileError",
    "engines.scaffold": "ScaffoldError",
    "engines.sensitivity": "SensitivityError",
    "engines.studying": "StudyRefused",
}
"""Errors whose text is a sentence for the user: module -> class. Looked up among what is loaded, so that no verb pays for another's imports."""


def main(argv: list[str] | None = None) -> int:
    """Answer one command line; returns the exit code."""
    words = sys.argv[1:] if argv is None else argv
    parser = build_parser()
    try:
        verb = next((word for word in words if not word.startswith("-")), None)
        if verb is not None and verb not in verbs(parser):
            hint = did_you_mean(verb, verbs(parser), listed=False) or f"the verbs are: {', '.join(verbs(parser))}"
            if os.path.isfile(verb):
                hint = f"to run that file: workbench run {verb}"
            sys.stderr.write(f'workbench: there is no verb "{verb}"; {hint}\n')
            return WRONG
        arguments = parser.parse_args(words)
        if arguments.verb is None:
            parser.print_help()
            return DONE
        module = importlib.import_module(f"engines.console.{arguments.module}")
        code = int(getattr(module, arguments.function)(arguments))
        sys.stdout.flush()
        return code
    except SystemExit as leaving:
        return int(leaving.code or 0)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone (`workbench list | head`); the interpreter must not complain about it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as error:
        if not isinstance(error, _refusals()):
            raise
        sys.stderr.write(f"{error}\n")
        return WRONG


def _refusals() -> tuple[type[Exception], ...]:
    loaded = ((sys.modules.get(module), name) for module, name in _REFUSALS.items())
    return tuple(getattr(module, name) for module, name in loaded if module is not None and hasattr(module, name))
