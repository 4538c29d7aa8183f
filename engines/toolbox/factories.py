"""The user's own code: functions found by "package.module:function"; modules that they make, given weights from a file.

Every failure is a sentence that names the place and what to do.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from engines.problems import closest

_own: dict[str, tuple[Path, int]] = {}
"""Of modules that lie in a folder of the user's: that folder, and when the newest of their files was written (ns)."""
SHOWN = 6
"""Names of weights in a sentence, at most."""
FACTORY = "factory must name a function, or a class, that returns an nn.Module."


def find_function(reference: str, folder: str, wanted: str = FACTORY) -> Callable[..., Any]:
    """The function or class that "package.module:function" names. The module is looked for in `folder` first, then on Python's path.

    wanted: what it must be, a sentence that begins with the parameter's name. Raises ValueError with a sentence.
    """
    name, colon, attribute = reference.partition(":")
    if not (name and colon and attribute):
        raise ValueError(f'{wanted.partition(" ")[0]} = "{reference}" must be written as "package.module:function".')
    module = _imported(name, Path(folder).resolve())
    found: Any = module
    for step in attribute.split("."):
        if not hasattr(found, step):
            near = closest(step, [each for each in vars(found) if not each.startswith("_")])
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise ValueError(f"{name} ({getattr(module, '__file__', '')}) has no {step}.{hint}")
        found = getattr(found, step)
    if not callable(found):
        raise ValueError(f"{reference} is a {type(found).__name__}: {wanted}")
    return found


def _imported(name: str, folder: Path) -> ModuleType:
    """The module, imported with `folder` in front of the path. One that came from another folder under the same name, or whose files were edited
    since, is imported anew; packages that are installed stay as they are."""
    top = name.partition(".")[0]
    if top in _own and _own[top] != (folder, _edited(top)):
        for other in _modules(top):
            del sys.modules[other]
        del _own[top]
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(name)
        file = getattr(sys.modules[top], "__file__", None)
        if file and Path(file).resolve().is_relative_to(folder):
            _own[top] = (folder, _edited(top))
        return module
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ValueError(
                f"There is no module {name} in {folder} or on Python's path: put its file beside the experiment, or install its package."
            ) from error
        raise ValueError(f"{name} could not be imported: it needs the module {error.name}, which is not installed.") from error
    except Exception as error:
        raise ValueError(f"{name} could not be imported: {type(error).__name__}: {error}.") from error
    finally:
        sys.path.remove(str(folder))


def _modules(top: str) -> list[str]:
    return [name for name in sys.modules if name == top or name.startswith(f"{top}.")]


def _edited(top: str) -> int:
    files = (getattr(sys.modules[name], "__file__", None) for name in _modules(top))
    return max((Path(file).stat().st_mtime_ns for file in files if file and Path(file).exists()), default=0)


def make_module(reference: str, folder: str, arguments: Mapping[str, Any], offered: Mapping[str, Any]) -> nn.Module:
    """The module that the factory returns. offered: arguments that it is given as well, each where it takes one of that name.

    Raises ValueError with a sentence.
    """
    factory = find_function(reference, folder)
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):
        taken = dict(arguments)
    else:
        named = list(signature.parameters)
        takes_all = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in signature.parameters.values())
        strange = [] if takes_all else [name for name in arguments if name not in named]
        if strange:
            known = ", ".join(named) or "none"
            raise ValueError(f"{reference} takes no argument {', '.join(strange)}; it takes: {known}.")
        taken = {**{name: value for name, value in offered.items() if name in named}, **arguments}
        missing = [
            name for name, each in signature.parameters.items()
            if each.default is inspect.Parameter.empty and each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL) and name not in taken
        ]  # fmt: skip
        if missing:
            raise ValueError(f"{reference} needs {', '.join(missing)}: write arguments = {{ {missing[0]} = ... }}.")
    try:
        made = factory(**taken)
    except NotImplementedError:
        raise
    except Exception as error:
        raise ValueError(f"{reference} failed: {type(error).__name__}: {error}") from error
    if not isinstance(made, nn.Module):
        raise ValueError(f"{reference} returned a {type(made).__name__}: it must return an nn.Module.")
    return made


def load_weights(module: nn.Module, path: str, reference: str) -> None:
    """Put the tensors of a safetensors file into a module, all of them and nothing else. On the meta device they are only compared.

    Raises ValueError that names the weights that are missing, unexpected or of another shape.
    """
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"weights = {path} cannot be read as a safetensors file: {error}.") from error
    own = module.state_dict()
    # A weight that several modules share may stand in the file once, under any of its names.
    shared: dict[tuple[Any, ...], list[str]] = {}
    for name, tensor in own.items():
        shared.setdefault((id(tensor) if tensor.is_meta else tensor.data_ptr(), tuple(tensor.shape)), []).append(name)
    for names in shared.values():
        given = next((name for name in names if name in found), None)
        if given is not None and own[given].numel():
            found |= {name: found[given] for name in names if name not in found}
    missing, unexpected = [name for name in own if name not in found], [name for name in found if name not in own]
    other = [
        f"{name} ({_shape(found[name])} in the file, {_shape(own[name])} in the model)"
        for name in own
        if name in found and found[name].shape != own[name].shape
    ]
    wrong = [f"{what}: {_some(names)}" for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", other)) if names]
    if wrong:
        raise ValueError(f"The weights of {path} do not fit the module of {reference}; {'; '.join(wrong)}.")
    if not any(tensor.is_meta for tensor in own.values()):
        module.load_state_dict(found)


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
