"""The whole state of a training as arrays and JSON: what is needed to go on to the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from likewise.errors import ArtifactError
from likewise.training.learner import Learner
from likewise.training.randomness import random_states, restore_random_states

__all__ = ["Saved", "captured", "restored"]


@dataclass(frozen=True)
class Saved:
    """A state: named arrays, and facts that JSON can hold."""

    arrays: Mapping[str, Tensor]
    facts: Mapping[str, Any]


def captured(
    learner: Learner, augmentation: torch.Generator, kept: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> Saved:
    """Copy everything: weights, buffers, optimiser, average, the best weights so far, random generators.

    With several processes, what differs between them (generators, a loss's memory) is gathered, so every
    process must call this.
    """
    arrays: dict[str, Tensor] = {}
    for part, module in _modules(learner).items():
        arrays |= _prefixed(part, module.state_dict())
    for number, held in learner.optimizer.state_dict()["state"].items():
        arrays |= _prefixed(f"optimizer.{number}", held)
    if learner.average is not None:
        arrays |= _prefixed("average", learner.average.state())
    arrays |= _prefixed("kept", kept)
    own = _prefixed("random", {**random_states(), "augmentation": augmentation.get_state()})
    own |= _prefixed("buffers", dict(learner.loss.named_buffers()))
    for rank, theirs in enumerate(_everybodys(own)):
        arrays |= _prefixed(f"process{rank}", theirs)
    # A copy each: what is saved must not change while training goes on, and no two may share memory.
    return Saved(
        {name: value.detach().cpu().contiguous().clone() for name, value in arrays.items()}, dict(facts)
    )


def restored(saved: Saved, learner: Learner, augmentation: torch.Generator) -> dict[str, Tensor]:
    """Put everything back, and return the best weights so far.

    Raises
    ------
    ArtifactError
        The arrays aren't those of this encoder, loss or number of processes.
    """
    rank = dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
    try:
        own = _part(saved.arrays, f"process{rank}")
        for part, module in _modules(learner).items():
            state = _part(saved.arrays, part)
            if part == "loss":
                state |= {name: value for name, value in _part(own, "buffers").items() if name in state}
            module.load_state_dict(state)
        _restore_optimizer(learner, _part(saved.arrays, "optimizer"))
        if learner.average is not None:
            learner.average.restore(_part(saved.arrays, "average"))
        random = _part(own, "random")
        augmentation.set_state(random.pop("augmentation"))
        restore_random_states(random)
    except (KeyError, RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise ArtifactError(
            f"the checkpoint isn't of this encoder, loss and number of processes ({reason}); resume with "
            "those it was begun with"
        ) from error
    return _part(saved.arrays, "kept")


def _modules(learner: Learner) -> dict[str, nn.Module]:
    modules = {"encoder": learner.encoder, "loss": learner.loss}
    return modules if learner.projection is None else {**modules, "projection": learner.projection}


def _restore_optimizer(learner: Learner, arrays: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in arrays.items():
        number, _, key = name.partition(".")
        state.setdefault(int(number), {})[key] = value
    groups = learner.optimizer.state_dict()["param_groups"]
    learner.optimizer.load_state_dict({"state": state, "param_groups": groups})


def _everybodys(own: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return [own]
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, own)
    return found


def _prefixed(part: str, arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{part}.{name}": value for name, value in arrays.items()}


def _part(arrays: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{part}."): value for name, value in arrays.items() if name.startswith(f"{part}.")
    }
