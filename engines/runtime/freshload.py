"""Programs of torch.export, loaded where there is nothing but torch: what a person who takes them home has.

    python -I freshload.py REQUEST ANSWER

REQUEST: torch.save of a list of (path, list of input tuples, rounds); in rounds after the first all outputs but the first go in again. ANSWER:
torch.save of a list for each program with an entry for each of its examples: the outputs of its rounds, or the first line of what was raised.
It imports torch alone, and stops where anything of the project was loaded.
"""

from __future__ import annotations

import sys

import torch


def main() -> int:
    request, answer = sys.argv[1:]
    found = []
    for path, examples, rounds in torch.load(request, weights_only=True):
        program = torch.export.load(path).module()
        found.append([outputs_of(program, example, rounds) for example in examples])
    ours = sorted(name for name in sys.modules if name.split(".")[0] in ("engines", "plugins", "workbench"))
    if ours:
        sys.stderr.write(f"The programs need {ours[0]} of the workbench to be loaded.\n")
        return 1
    torch.save(found, answer)
    return 0


def outputs_of(program, inputs, rounds):
    """The outputs of each round, or a line that says what was raised."""
    outputs = []
    try:
        with torch.no_grad():
            for _ in range(rounds):
                given = program(*inputs)
                outputs.append(list(given) if isinstance(given, tuple | list) else [given])
                inputs = outputs[-1][1:]
    except Exception as error:  # noqa: BLE001 - sizes that a program does not take are refused by errors of several types
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    return outputs


if __name__ == "__main__":
    sys.exit(main())
