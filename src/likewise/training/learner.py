"""One step: items through the encoder, the loss, its gradient, and the weights moved.

It knows nothing of epochs, data or files. With several processes (torchrun) every one holds the same
weights; the losses see the global batch, and gradients are averaged here, so no wrapper is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from likewise.errors import InputError, LikewiseError
from likewise.losses import BarlowTwins, CrossBatchMemory, Loss, VICReg
from likewise.relations import Matches
from likewise.training.average import Average
from likewise.training.schedule import Schedule
from likewise.training.task import Batch

__all__ = ["Learner", "NotFiniteError", "Stepping"]

_LARGE = 1_000_000


class NotFiniteError(LikewiseError):
    """The loss, or an embedding, became NaN or infinite."""


@dataclass(frozen=True)
class Stepping:
    """How one step is computed.

    Parameters
    ----------
    precision : str
        ``float32``, or ``bf16``: the encoder in bfloat16, losses and weights in float32.
    clip_gradient : float > 0, optional
        The largest norm of the gradient of all parameters together.
    accumulate : int >= 1
        Batches a step, their gradients averaged.
    cached_gradients : int >= 0
        How many items go through the encoder at once, for batches that don't fit into memory; 0 is all.
    average : float in [0, 1)
        The decay of a moving average of the weights; 0 is none.
    """

    precision: str = "float32"
    clip_gradient: float | None = None
    accumulate: int = 1
    cached_gradients: int = 0
    average: float = 0.0

    def __post_init__(self) -> None:
        if self.precision not in ("float32", "bf16"):
            raise InputError(f"precision must be float32 or bf16; found {self.precision!r}")
        if self.accumulate < 1 or self.cached_gradients < 0 or not 0 <= self.average < 1:
            raise InputError(
                "accumulate must be at least 1, cached_gradients at least 0 and average in [0, 1); found "
                f"{self.accumulate}, {self.cached_gradients} and {self.average}"
            )
        if self.clip_gradient is not None and not self.clip_gradient > 0:
            raise InputError(f"clip_gradient must be above 0; found {self.clip_gradient}")


class Learner:
    """Encoder, loss and optimiser, and a step with them.

    Parameters
    ----------
    encoder, loss : nn.Module
        Trained in place. ``loss(embeddings, relation)`` gives a scalar.
    schedule : Schedule
    stepping : Stepping
    projection : nn.Module, optional
        Between encoder and loss, while training.
    device : torch.device, optional
        Where modules and batches go.
    """

    def __init__(
        self,
        encoder: nn.Module,
        loss: nn.Module,
        *,
        schedule: Schedule,
        stepping: Stepping,
        projection: nn.Module | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.encoder, self.loss, self.projection = encoder, loss, projection
        self.schedule, self.stepping = schedule, stepping
        self.device = torch.device("cpu") if device is None else device
        self.learned = encoder if projection is None else nn.Sequential(encoder, projection)
        self.learned.to(self.device)
        loss.to(self.device)
        groups = _groups(self.learned, loss, schedule)
        # One pass over large arrays in place of ten; small ones gain nothing.
        large = sum(p.numel() for group in groups for p in group["params"]) > _LARGE
        self.optimizer = torch.optim.AdamW(groups, fused=large)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.average = Average(encoder, loss, decay=stepping.average) if stepping.average else None
        self._shared = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        if self._shared:
            for held in [*self.learned.state_dict().values(), *loss.state_dict().values()]:
                dist.broadcast(held, 0)

    def parameters(self) -> list[nn.Parameter]:
        """Everything that is learned."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def gradients(
        self, items: Tensor, batch: Batch, *, weight: float = 1.0, cached: int | None = None
    ) -> float:
        """Add the gradient of ``weight`` times the loss of a batch, and return the loss.

        Parameters
        ----------
        items : tensor (n, ...)
            Prepared, on the learner's device.
        batch : Batch
        weight : float
        cached : int, optional
            In place of the stepping's ``cached_gradients``.

        Raises
        ------
        InputError
            The loss isn't a scalar.
        NotFiniteError
            It isn't finite, or an embedding isn't.
        """
        size = self.stepping.cached_gradients if cached is None else cached
        if size and size < len(items):
            return self._cached_gradients(items, batch, weight, size)
        embeddings = self._embed(items)
        value = self._value(embeddings, batch)
        torch.autograd.backward(value * weight if weight != 1.0 else value)
        return float(value.detach())

    def step(self, factor: float) -> None:
        """Move the weights by what has been added up, at ``factor`` times the rates."""
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        if self._shared:
            self._average_gradients()
        if self.stepping.clip_gradient is not None:
            nn.utils.clip_grad_norm_(self.parameters(), self.stepping.clip_gradient)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update()

    def train(self) -> None:
        """Modules in training mode."""
        self.learned.train()
        self.loss.train()

    def eval(self) -> None:
        """Modules in evaluation mode."""
        self.learned.eval()
        self.loss.eval()

    def _embed(self, items: Tensor) -> Tensor:
        if self.stepping.precision == "float32":
            embeddings: Tensor = self.learned(items)
            return embeddings
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            embeddings = self.learned(items)
        return embeddings.float()

    def _value(self, embeddings: Tensor, batch: Batch) -> Tensor:
        relation = batch.relation
        if isinstance(relation, Tensor):
            relation = relation.to(embeddings.device)
        options: dict[str, Any] = {}
        if isinstance(self.loss, CrossBatchMemory) and batch.ids is not None:
            options["ids"] = batch.ids.to(embeddings.device)
        if batch.weights is not None:
            options["weights"] = batch.weights.to(embeddings.device)
        if isinstance(self.loss, VICReg | BarlowTwins) and batch.views == 2:
            # These take the two views apart, each item with its own other view.
            embeddings, options["columns"] = embeddings.chunk(2)
            relation = Matches()
        try:
            value: Tensor = self.loss(embeddings, relation, **options)
        except InputError:
            if isinstance(self.loss, Loss) and not bool(torch.isfinite(embeddings).all()):
                raise NotFiniteError("the embeddings became NaN or infinite") from None
            raise
        if value.ndim != 0:
            raise InputError(f"loss must give a scalar; found shape {tuple(value.shape)}")
        number = float(value.detach())
        if not math.isfinite(number):
            raise NotFiniteError(f"the loss became {number}")
        return value

    def _cached_gradients(self, items: Tensor, batch: Batch, weight: float, size: int) -> float:
        """The batch's whole gradient with ``size`` items' activations in memory at a time.

        Embeddings are made without a graph, the loss gives their gradient, and each part goes through the
        encoder again to carry it on: dL/dw = sum over items of dL/de de/dw (Gao et al., "Scaling deep
        contrastive learning batch size under memory limited setup", 2021). Dropout draws the same twice.
        A layer that looks across items, as batch normalisation does, sees the part alone.
        """
        parts = torch.split(items, size)
        states: list[Callable[[], None]] = []
        embeddings = []
        with torch.no_grad():
            for part in parts:
                states.append(_generator_state(self.device))
                embeddings.append(self._embed(part))
        cached = torch.cat(embeddings).requires_grad_()
        value = self._value(cached, batch)
        torch.autograd.backward(value * weight)
        assert cached.grad is not None
        after = _generator_state(self.device)
        for part, gradient, again in zip(parts, torch.split(cached.grad, size), states, strict=True):
            again()
            torch.autograd.backward(self._embed(part), gradient)
        after()
        return float(value.detach())

    def _average_gradients(self) -> None:
        world_size = dist.get_world_size()
        for parameter in self.parameters():
            if parameter.grad is None:  # every process must take part
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)
            parameter.grad /= world_size


def _generator_state(device: torch.device) -> Callable[[], None]:
    """Remember the device's random generator; calling the result puts it back."""
    if device.type == "cuda":
        state = torch.cuda.get_rng_state(device)
        return lambda: torch.cuda.set_rng_state(state, device)
    own = torch.get_rng_state()
    return lambda: torch.set_rng_state(own)


def _groups(encoder: nn.Module, loss: nn.Module, schedule: Schedule) -> list[dict[str, Any]]:
    paced = _paced(encoder)
    seen = {id(parameter) for own in paced.values() for parameter in own}
    of_loss = [p for p in loss.parameters() if p.requires_grad and id(p) not in seen]
    if not paced and not of_loss:
        raise InputError("encoder has no parameter to learn, and neither has the loss")
    groups = [
        {"params": own, "lr": schedule.learning_rate * pace, "weight_decay": schedule.weight_decay}
        for pace, own in paced.items()
    ]
    if of_loss:
        groups.append({"params": of_loss, "lr": schedule.loss_learning_rate, "weight_decay": 0.0})
    return groups


def _paced(encoder: nn.Module) -> dict[float, list[nn.Parameter]]:
    """Parameters to learn by the ``pace`` of their own module: by how much faster they learn, else 1."""
    found: dict[float, list[nn.Parameter]] = {}
    seen: set[int] = set()
    for module in encoder.modules():
        for parameter in module.parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                found.setdefault(float(getattr(module, "pace", 1.0)), []).append(parameter)
    return found
