"""Memory of one training step by owner: every storage of tensors followed from its birth to its death, on the CPU as on a GPU.

A dispatch mode sees the storages that operators take and give, views and aliases of one storage count once, and a weak reference tells when a
storage dies. What an operator allocates and frees inside itself (a kernel's workspace), and what libraries keep, it cannot see. On a GPU the
allocator is asked after every operator how much it holds and held at most, so that this is an owner of its own; on the CPU who needs the
difference compares with the profiler's memory events.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import cached_property
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, is_traceable_wrapper_subclass

from engines.runtime.attribution import GRADIENTS, OPTIMIZER, OUTSIDE, PARAMETERS, Count, Life, Reading, read, workspace
from engines.runtime.calls import Calls


class Allocator:
    """The caching allocator of one GPU, as torch counts it. Its high-water mark is reset by asking."""

    def __init__(self, device: torch.device) -> None:
        self._device = torch.cuda.current_device() if device.index is None else device.index

    def bytes(self) -> tuple[int, int]:
        """(held now, held at most since the last time). Needs no waiting: memory is given and taken as operators are queued, not as they run."""
        counted = torch.cuda.memory_stats_as_nested_dict(self._device)["allocated_bytes"]["all"]
        torch.cuda.reset_peak_memory_stats(self._device)
        return counted["current"], counted["peak"]

    def of_libraries(self) -> int:
        """What cuBLAS keeps for its products, one piece a thread and stream; taken from it, and asked for anew by its next product."""
        before, _ = self.bytes()
        torch._C._cuda_clearCublasWorkspaces()
        return before - self.bytes()[0]


class Watch:
    """Follows the storages on one device through one step.

        with Watch(model, optimizer, device, known=[carried state]) as watch:
            watch.enter("data"); ...; watch.enter("forward"); forward and backward; watch.enter("update"); update
        watch.reading.owners_mib

    The backward pass is recognised by itself, also where a step has several. known: tensors in any nesting that are there already. Nothing is
    kept alive by it, and the values of the step are bit-equal to those without it. allocator: what counts memory where it is not torch's own.
    """

    def __init__(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer | None, device: torch.device, known: Any = None,
        allocator: Allocator | None = None,
    ) -> None:  # fmt: skip
        self.model, self.optimizer, self.device = model, optimizer, device
        self.calls = Calls(model)
        self._owners = {id(p): name for name, module in model.named_modules() for p in module.parameters(recurse=False)}
        self._lives: list[Life] = []
        self._living: dict[int, int] = {}
        """Address of a storage -> its place in `_lives`, while it lives."""
        self._references: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self._phases: list[tuple[float, str]] = []
        self._backward = -1
        """The graph task under way when we last looked; -1 outside a backward pass."""
        self._phase = "start"
        self._known = known
        self._stack = ExitStack()
        self._start = self._end = 0.0
        self._allocator = allocator or (Allocator(device) if device.type == "cuda" else None)
        self._counts: list[Count] = []
        self._libraries = 0
        self.allocated_peak = 0
        """Bytes that the allocator held at most during the step, with what the step never touched; 0 where nothing counts."""

    # --- the step ---------------------------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Watch:
        self._own(self._parameters(), PARAMETERS)
        self._own(self._gradients(), GRADIENTS)
        self._own(self._optimizer_state(), OPTIMIZER)
        for tensor in _tensors([list(self.model.buffers()), self._known]):
            self._see(tensor)
        self._known = None
        self._stack.enter_context(self.calls.followed())
        for parameter in self.model.parameters():
            if parameter.requires_grad and parameter.is_leaf:
                # For those that are used and freed during the backward pass; `enter` finds the others.
                handle = parameter.register_post_accumulate_grad_hook(lambda p: self._own([(p.grad, self._owners[id(p)])], GRADIENTS))
                self._stack.callback(handle.remove)
        self._stack.enter_context(_Mode(self))
        self._start = time.perf_counter()
        self._ask_allocator()
        self.count()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stack.close()
        self._end = self._now()
        self._own(self._optimizer_state(), OPTIMIZER)
        self.count()
        if self._allocator is not None:
            self._libraries = self._allocator.of_libraries()
        self._references.clear()

    @cached_property
    def reading(self) -> Reading:
        """What was found, once the block has ended; made when it is first asked for, since that takes memory."""
        beside = workspace(self._lives, self._counts, self._libraries) if self._counts else []
        return read([*self._lives, *beside], self._phases, self._end, str(self.device))

    def enter(self, phase: str) -> None:
        """A phase begins: data, forward or update."""
        self._phase = phase
        self._phases.append((self._now(), phase))
        if phase == "update":
            self._own(self._gradients(), GRADIENTS)

    # --- what the mode reports ----------------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Before an operator: has a backward pass begun or ended? What tensors that died since the last one held is no part of its peak."""
        self._ask_allocator()
        task = torch._C._current_graph_task_id()
        if task != self._backward:
            self._backward = task
            self._phases.append((self._now(), "backward" if task >= 0 else self._phase))

    def born(self, made: Any) -> None:
        for tensor in _tensors(made):
            self._see(tensor, new=True)

    def used(self, taken: Any) -> None:
        """Storages that an operator reads and nobody has seen: older than the step, but for those that the data brings."""
        for tensor in _tensors(taken):
            self._see(tensor, new=self._phase == "data")

    def count(self) -> None:
        """After an operator, when its results are known: what the allocator says."""
        asked = self._ask_allocator()
        if asked is not None:
            self._counts.append(Count(self._now(), *asked, self._module()))

    def _ask_allocator(self) -> tuple[int, int] | None:
        asked = None if self._allocator is None else self._allocator.bytes()
        if asked is not None:
            self.allocated_peak = max(self.allocated_peak, asked[1])
        return asked

    # --- storages ---------------------------------------------------------------------------------------------------------------------------

    def _see(self, tensor: torch.Tensor, *, new: bool = False) -> list[Life]:
        """The lives of a tensor's storages on our device, begun where nobody has seen them before."""
        found = []
        for storage in _storages(tensor):
            if storage.device.type != self.device.type or self.device.index not in (None, storage.device.index):
                continue
            size = storage.nbytes()
            place = self._living.get(storage._cdata)
            if place is None:
                place = self._begin(storage, size, new=new)
            elif size != self._lives[place].bytes_now:
                self._lives[place].resize(self._now(), size)
            found.append(self._lives[place])
        return found

    def _begin(self, storage: torch.UntypedStorage, size: int, *, new: bool) -> int:
        place, address = len(self._lives), storage._cdata
        backward, module = self._backward >= 0, self._module()
        recomputed = backward and self.calls.inside
        phase = ("recomputed" if recomputed else "backward" if backward else self._phase) if new else "start"
        self._lives.append(Life(size, self._now() if new else 0.0, phase, module if new else OUTSIDE))
        self._living[address] = place
        self._references[place] = weakref.ref(storage, self._ending(place, address))
        return place

    def _module(self) -> str:
        """Whose operator is at work: the module that is called, or in a backward pass the one whose node of the graph it is."""
        if self._backward < 0 or self.calls.inside:
            return self.calls.current
        node = torch._C._current_autograd_node()
        return self.calls.of_node(node._sequence_nr()) if node is not None else OUTSIDE

    def _ending(self, place: int, address: int) -> Callable[[Any], None]:
        def died(reference: Any) -> None:
            self._lives[place].died = self._now()
            # The address may belong to another storage by now.
            if self._living.get(address) == place:
                del self._living[address]

        return died

    def _own(self, tensors: Iterable[tuple[torch.Tensor | None, str]], owner: str) -> None:
        for tensor, module in tensors:
            for life in () if tensor is None else self._see(tensor):
                if not life.owner:
                    life.owner, life.module = owner, module

    def _parameters(self) -> Iterator[tuple[torch.Tensor, str]]:
        for parameter in self.model.parameters():
            yield parameter, self._owners[id(parameter)]

    def _gradients(self) -> Iterator[tuple[torch.Tensor | None, str]]:
        for parameter in self.model.parameters():
            yield parameter.grad, self._owners[id(parameter)]

    def _optimizer_state(self) -> Iterator[tuple[torch.Tensor, str]]:
        if self.optimizer is not None:
            for parameter, state in self.optimizer.state.items():
                for tensor in _tensors(state):
                    yield tensor, self._owners.get(id(parameter), OUTSIDE)

    def _now(self) -> float:
        return 1000 * (time.perf_counter() - self._start)


class _Mode(TorchDispatchMode):
    """Shows every operator's storages to a watch."""

    supports_higher_order_operators = True

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._watch.look()
        self._watch.used((args, kwargs))
        made = func(*args, **(kwargs or {}))
        self._watch.born(made)
        self._watch.count()
        return made


def _tensors(nested: Any) -> Iterator[torch.Tensor]:
    """The tensors in any nesting of tuples, lists and dictionaries."""
    if isinstance(nested, torch.Tensor):
        yield nested
    elif isinstance(nested, Mapping):
        for item in nested.values():
            yield from _tensors(item)
    elif isinstance(nested, list | tuple):
        for item in nested:
            yield from _tensors(item)


def _storages(tensor: torch.Tensor) -> Iterator[torch.UntypedStorage]:
    """The storages behind a tensor: of a sparse one those of its indices and values, of a wrapper those of its parts."""
    if tensor.is_meta:
        return
    if is_traceable_wrapper_subclass(tensor):
        names, _ = tensor.__tensor_flatten__()
        for name in names:
            yield from _storages(getattr(tensor, name))
    elif tensor.layout == torch.strided:
        yield tensor.untyped_storage()
    elif tensor.layout == torch.sparse_coo:
        yield from (tensor._indices().untyped_storage(), tensor._values().untyped_storage())
    elif tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        yield from (part.untyped_storage() for part in (tensor.crow_indices(), tensor.col_indices(), tensor.values()))
    elif tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        yield from (part.untyped_storage() for part in (tensor.ccol_indices(), tensor.row_indices(), tensor.values()))
