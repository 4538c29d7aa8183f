"""Training as it was at one moment, kept in memory, and how it is put back there: weights, optimiser, data order, random numbers, techniques.

What was spent stays spent: steps, tokens and seconds go on counting. Only the share of the budget begins anew at the snapshot, and with it what
follows that share (schedules, gradual techniques).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch

from engines.toolbox.batches import map_tensors

if TYPE_CHECKING:
    from engines.runtime.context import Session
    from engines.runtime.pipeline import Pipeline


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """States of torch's random numbers, on the CPU and, where it is one, on a GPU."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """Go on from what `random_state` gave."""
    torch.set_rng_state(state["cpu"].cpu())
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)


def take(session: Session, pipeline: Pipeline, carried: Any) -> dict[str, Any]:
    """Copies of all that the next steps depend on. carried: the state of the model that the next batch begins with."""
    optimizer = session.optimizer
    return {
        "model": {name: tensor.detach().clone() for name, tensor in session.model.state_dict().items()},
        "optimizer": optimizer and copy.deepcopy(optimizer.state_dict()),
        "techniques": map_tensors(torch.clone, copy.copy(pipeline.state_dict())),
        "stream": dict(session.stream.state_dict()), "carried": map_tensors(torch.clone, carried), "rng": random_state(session.device),
        "step": session.step, "tokens": session.tokens, "seconds": session.seconds,
    }  # fmt: skip


def put_back(session: Session, pipeline: Pipeline, snapshot: dict[str, Any], *, keep: str) -> Any:
    """Training is where it was at the snapshot, which can be used again. keep: the technique whose memory stays. Returns the carried state.

    Raises ValueError where the model was given another structure since.
    """
    here = session.model.state_dict()
    if here.keys() != snapshot["model"].keys() or any(here[name].shape != tensor.shape for name, tensor in snapshot["model"].items()):
        raise ValueError(f"{keep} cannot rewind: an earlier technique gave the finished model another structure. Put {keep} before it.")

    def copied(state: Any) -> Any:
        return map_tensors(lambda tensor: tensor.to(session.device, copy=True), state)

    session.model.load_state_dict(snapshot["model"])
    if session.optimizer is not None:
        session.optimizer.load_state_dict(copy.deepcopy(snapshot["optimizer"]))
        session.optimizer.zero_grad(set_to_none=True)
    pipeline.load_state_dict(copied(snapshot["techniques"]) | {keep: pipeline.contexts[keep].state})
    session.stream.load_state_dict(snapshot["stream"])
    set_random_state(snapshot["rng"], session.device)
    session.repeated = (session.step - snapshot["step"], session.tokens - snapshot["tokens"], session.seconds - snapshot["seconds"])
    session.stop_reason = ""
    return copied(snapshot["carried"])
