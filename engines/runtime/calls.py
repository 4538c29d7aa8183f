"""Which module of a model is at work: the calls of its modules as they begin and end, and which of them an operation of backward belongs to.

Autograd numbers the nodes of its graph in the order in which a thread makes them, so the numbers that are given while a module is at work are
those of its backward pass. Hooks for backward passes are not used: they fail on outputs that are changed in place, and they change the graph.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

import torch
from torch import nn

from engines.runtime.attribution import OUTSIDE

MODEL = "(model)"
"""What the model does itself, in none of its modules."""
_HEAD_METHODS = ("loss", "nll", "log_prob")
"""A head is asked through these, not through a call."""


class Calls:
    """Follows the calls of the modules of `model`. begin, end: called with the name of a module where one of its calls begins and ends.

    Names are those of named_modules; a module that stands in several places has the first.
    """

    def __init__(
        self, model: nn.Module, begin: Callable[[str], None] = lambda name: None, end: Callable[[str], None] = lambda name: None
    ) -> None:
        self._model, self._begin, self._end = model, begin, end
        self._running = threading.local()
        self._thread = threading.get_ident()
        self._numbers: list[int] = [0]
        self._names: list[str] = [OUTSIDE]

    @property
    def current(self) -> str:
        """The innermost module at work in this thread."""
        stack = self._stack()
        return stack[-1] if stack else OUTSIDE

    @property
    def inside(self) -> bool:
        """Whether a module is at work in this thread."""
        return bool(self._stack())

    def of_node(self, number: int) -> str:
        """The module during whose call autograd made the node with this sequence number; OUTSIDE for a number that is none of ours."""
        if not 0 <= number < 2**62:
            return OUTSIDE
        return self._names[bisect_right(self._numbers, number) - 1]

    @contextmanager
    def followed(self) -> Iterator[Calls]:
        """Hooks stand on every module inside, and are gone afterwards."""
        with ExitStack() as stack:
            self._note()
            for path, module in self._model.named_modules():
                name = path or MODEL
                stack.enter_context(module.register_forward_pre_hook(self._entering(name), prepend=True))
                # always_call: recomputation for a checkpoint ends its last call with an exception.
                stack.enter_context(module.register_forward_hook(self._leaving(name), always_call=True))
            head = getattr(self._model, "head", None)
            if isinstance(head, nn.Module):
                for method in _HEAD_METHODS:
                    if callable(getattr(head, method, None)) and method not in vars(head):
                        setattr(head, method, self._around(getattr(head, method)))
                        stack.callback(delattr, head, method)
            yield self

    def _stack(self) -> list[str]:
        if not hasattr(self._running, "stack"):
            self._running.stack = []
        found: list[str] = self._running.stack
        return found

    def _enter(self, name: str) -> None:
        self._stack().append(name)
        self._note()
        self._begin(name)

    def _leave(self, name: str) -> None:
        stack = self._stack()
        # A call that an exception ended without its hook must not stay on the stack for ever.
        while stack and stack.pop() != name:
            pass
        self._end(name)
        self._note()

    def _note(self) -> None:
        """From the next node on, nodes belong to the module that is at work now. Other threads have numbers of their own."""
        if threading.get_ident() == self._thread:
            self._numbers.append(torch._C._autograd._get_sequence_nr())
            self._names.append(self.current)

    def _entering(self, name: str) -> Callable[..., None]:
        return lambda module, args: self._enter(name)

    def _leaving(self, name: str) -> Callable[..., None]:
        return lambda module, args, output: self._leave(name)

    def _around(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def followed(*args: Any, **kwargs: Any) -> Any:
            self._enter("head")
            try:
                return method(*args, **kwargs)
            finally:
                self._leave("head")

        return followed
