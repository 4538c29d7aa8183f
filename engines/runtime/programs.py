"""Models as programs of torch.export, which run where there is torch and nothing of the workbench."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engines.runtime import freshload
from engines.runtime.graphs import NotExportable, Step, reason_of, silence
from engines.toolbox.int8 import Int8Module
from engines.toolbox.packed import matrices_in

Rounds = list[tuple[Tensor, ...]]


def write_program(model: nn.Module, module: nn.Module, example: tuple[Tensor, ...], free: Sequence[Sequence[int]], path: Path) -> None:
    """Write what `module` computes with a model. Raises NotExportable.

    free: the dimensions of each input that should take any size; where the model's code fixes one, the program takes the example's alone.
    """
    own = next(((name, type(part).__name__) for name, part in model.named_modules() if isinstance(part, Int8Module)), None)
    if own is not None:
        raise NotExportable(
            f"{own[0]} is an {own[1]}, whose integer kernels want their weights in a packed form that is no tensor, and a program holds tensors "
            "alone. Export it as safetensors, or make the model with quantization/static_int8 or quantization/weight_only."
        )
    for matrix in matrices_in(model):
        matrix.kept = False  # floats kept from the first call on would be another copy of the weights
    shapes: tuple[Any, ...] = tuple(dict.fromkeys(dims, torch.export.Dim.AUTO) for dims in free)
    if isinstance(module, Step):
        shapes = (shapes[0], shapes[1:])  # what a starred argument gets is one nested tuple
    failed: Exception | None = None
    for dynamic in [shapes, None] if any(free) else [None]:
        try:
            with silence(), torch.no_grad():
                program = torch.export.export(module.eval(), example, dynamic_shapes=dynamic, strict=False)
                torch.export.save(program, path)
        except Exception as error:  # noqa: BLE001 - the exporter lets through whatever it meets, of many types
            failed = failed or error
            continue
        return
    assert failed is not None
    raise NotExportable(reason_of(failed)) from failed


def loaded_afresh(requests: Sequence[tuple[Path, list[tuple[Tensor, ...]], int]], folder: Path) -> list[list[Rounds | str]]:
    """Outputs of programs in a process that has torch and nothing of ours: for each program, for each of its examples, round by round; or why
    an example is not taken.

    folder: for the files in between. Raises NotExportable with the last words of a process that failed.
    """
    request, answer = folder / "request.pt", folder / "answer.pt"
    torch.save([(str(path), [list(each) for each in examples], rounds) for path, examples, rounds in requests], request)
    command = [sys.executable, "-I", "-W", "ignore", str(Path(freshload.__file__)), str(request), str(answer)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise NotExportable(f"It was written but does not run where it is loaded: {last[0][:300]}")
    found: Any = torch.load(answer, weights_only=True)
    request.unlink()
    answer.unlink()
    return [[each if isinstance(each, str) else [tuple(outputs) for outputs in each] for each in program] for program in found]
