"""What every plugin is, and how its parameters are declared. Part of `engines.api`.

Imports neither torch, Qt nor SQL.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from pydantic_core import PydanticUndefined


def param(
    default: Any = PydanticUndefined,
    help: str = "",
    *,
    unit: str = "",
    symbol: str = "",
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    reference: Literal["", "variant", "model"] = "",
    path: bool = False,
    alias: str | None = None,
) -> Any:
    """Declare one parameter: default, help, unit, symbol of the paper, bounds.

    reference="variant": the value names a variant of the same experiment whose finished model this plugin reads, so that its run
    comes first. reference="model": it may also name a finished model from outside, `run:12` or a path (engines.teachers).
    path=True: a relative value is resolved against the folder of the experiment file. alias: its key in files, where that is not the name of
    the field.
    """
    marks: JsonDict = {"unit": unit, "symbol": symbol, "reference": reference, "path": path}
    extra: JsonDict = {key: value for key, value in marks.items() if value}
    return Field(default, alias=alias, description=help, ge=ge, gt=gt, le=le, lt=lt, json_schema_extra=extra or None)


class Plugin(BaseModel):
    """What every plugin is: a frozen set of parameters with a card."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=False, serialize_by_alias=True)

    kind: ClassVar[str] = ""
    """One of block, technique, task, corpus, study."""
    paper: ClassVar[str] = ""
    """Citation: authors, year, title, link."""
    was: ClassVar[tuple[str, ...]] = ()
    """Old ids under which experiment files may still name it."""

    @classmethod
    def unavailable(cls) -> str:
        """Why this cannot run on this machine, as a sentence; the empty string where it can."""
        return ""
