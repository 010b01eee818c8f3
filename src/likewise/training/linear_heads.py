"""Linear heads: a metric learner fitted on the features of an encoder that stays as it is.

The learner sees every feature with mean 0 and deviation 1, and its map, taken together with that, becomes the
last layer of the model. Directions in which features vary by no more than float32 rounds are taken out first,
as a learner in float64 would make much of them. Without an encoder the features are the items' own numbers.
Learners that end in one global matrix are methods here; those of kernels, of local or several metrics have no
such layer.
"""

from __future__ import annotations

import inspect
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import likewise
from likewise import linear
from likewise.data import Records, check_trainable
from likewise.distances import Distance
from likewise.encoders import MLP, Encoder, Headed, Preprocessing, config_of, encoder_for, preprocessing_for
from likewise.errors import InputError
from likewise.linear.base import MahalanobisLearner
from likewise.linear.bilinear import BilinearLearner
from likewise.model import Model
from likewise.settings import TrainingSettings
from likewise.training.calibrating import calibrate
from likewise.training.methods import METHODS
from likewise.training.progress import Epoch
from likewise.training.reading import embedded
from likewise.training.task import learnable_relation, supervision_of
from likewise.training.validation import HeldOut, hold_out

__all__ = ["linear_methods", "train_linear_head"]

_Learner = type[MahalanobisLearner | BilinearLearner]

_NOISE = 1e-5  # of the largest deviation: less than that is rounding of an encoder in float32

_READ = {"data", "label", "skip_bad", "method", "seed", "encoder", "dimension", "loss", "hold_out", "refit"}
_READ |= {"figure", "device", "checkpoint_seconds", "tensorboard"}


def linear_methods() -> Mapping[str, _Learner]:
    """Learners by the name that ``method`` takes: the class's own in lower case, words joined by hyphens.

    NCA is ``linear-nca``, as ``nca`` trains an encoder.

    >>> linear_methods()["schultz-joachims"].__name__, "kernel-itml" in linear_methods()
    ('SchultzJoachims', False)
    """
    found = {}
    for name in linear.__all__:
        kind = getattr(linear, name)
        if inspect.isclass(kind) and issubclass(kind, MahalanobisLearner | BilinearLearner):
            called = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()
            found[f"linear-{called}" if called in METHODS else called] = kind
    return found


def train_linear_head(
    records: Records,
    settings: TrainingSettings,
    own_encoder: nn.Module | None = None,
    *,
    device: torch.device | None = None,
    callbacks: Sequence[Callable[[Epoch], None]] = (),
) -> Model:
    """Fit a learner without what is held back, to judge and to calibrate; then anew on everything.

    Parameters
    ----------
    records : Records
    settings : TrainingSettings
        ``method`` names the learner, ``loss`` holds its options, ``dimension`` is its ``n_components``;
        ``encoder`` is a name, or the folder of a run. Settings of batches and steps are refused.
    own_encoder : nn.Module, optional
        In place of the encoder of the settings.
    device : torch.device, optional
        Where the encoder computes; the learner fits on the CPU.
    callbacks : sequence of functions
        Called with each of the two fits, as an :class:`Epoch`.

    Returns
    -------
    Model
        The encoder, the learned map on it, and the learner's distance.

    Raises
    ------
    InputError
        An option that the learner doesn't have or refuses, a setting that doesn't apply, records of a
        kind from which it doesn't learn.
    """
    _check_settings(settings)
    supervision = supervision_of(records)
    if supervision == "labels":
        check_trainable(records)
    head = _Head(records, settings, own_encoder, torch.device("cpu") if device is None else device)
    epochs: list[Epoch] = []
    calibration = None

    def tell(epoch: Epoch) -> None:
        epochs.append(epoch)
        for callback in callbacks:
            callback(epoch)

    if settings.hold_out and supervision != "views":
        held = hold_out(records, fraction=settings.hold_out, seed=settings.seed)
        preparation = head.preparation(held.learn)
        encoder, distance, epoch = head.fit(held.learn, preparation, stage="held-out", held=held.held_out)
        tell(epoch)
        calibration = calibrate(encoder, distance, preparation, held, seed=settings.seed)
    if settings.refit or not epochs:
        preparation = head.preparation(records)
        encoder, distance, epoch = head.fit(records, preparation, stage="all")
        tell(epoch)
    return Model(
        encoder.cpu(),
        distance,
        preparation,
        calibration,
        classes=tuple(records.classes.tolist()) if records.labelled else (),
        training=_training(records, settings, encoder, head.name),
        history=tuple(epoch.line() for epoch in epochs),
    )


class _Head:
    """A frozen encoder, and the learner that is fitted on what it gives."""

    def __init__(
        self, records: Records, settings: TrainingSettings, own: nn.Module | None, device: torch.device
    ) -> None:
        self._kind = linear_methods()[str(settings.method)]
        self.name = self._kind.__name__
        self._settings, self._device = settings, device
        said = settings.encoder
        self._said = {"name": said} if isinstance(said, str) else dict(said or {})
        self._called: str | None = self._said.pop("name", None)
        self._body: nn.Module | None = own
        if own is None and self._called and os.path.isfile(os.path.join(self._called, "model.json")):
            model = Model.load(self._called)
            self._body, self._whole, self._fixed = model.encoder, model.preprocessing, True
            model.adapted(records)
        else:
            # Of everything, as vocabularies and categories must be those that the encoder was made for.
            self._whole = preprocessing_for(records, encoder=None if own is not None else self._called)
            self._fixed = False
            if own is None and self._called:
                options = {"dimension": None, "seed": settings.seed, **self._said}
                self._body = encoder_for(self._whole, name=self._called, **options)
        if self._body is None and self._whole.kind not in ("features", "image"):
            raise InputError(
                f"method {settings.method} learns from numbers; found items of kind {self._whole.kind}: "
                "name an encoder that gives their features"
            )
        if self._body is not None:
            self._body.to(device).eval()

    def preparation(self, records: Records) -> Preprocessing:
        """What prepares items for the encoder, its statistics taken from these records."""
        if self._fixed:
            return self._whole
        return preprocessing_for(records, encoder=self._called, like=self._whole)

    def fit(
        self, records: Records, preparation: Preprocessing, *, stage: str, held: Records | None = None
    ) -> tuple[nn.Module, Distance, Epoch]:
        """The encoder with its head, the distance that belongs to it, and what to tell."""
        begin = time.perf_counter()
        body = nn.Flatten() if self._body is None else self._body
        features = embedded(body, preparation, records).double().cpu().numpy()
        mean, scale = features.mean(axis=0), features.std(axis=0)
        scale = np.where(scale <= 1e-7 * np.abs(mean), 1.0, scale)
        rows = (features - mean) / scale
        spread, directions = np.linalg.eigh(rows.T @ rows)
        kept = directions[:, spread > _NOISE**2 * spread[-1]]
        if kept.shape[1] < rows.shape[1]:
            rows = rows @ kept @ kept.T
        learner = self._learner()
        learner.fit(rows, **self._known(records))
        encoder, distance = self._joined(learner.to_model(), mean, scale, kept)
        figures = {}
        if held is not None:
            figures = HeldOut(held, distance, preparation, figure=self._settings.figure)(encoder)
        loss = float(learner.objective_[-1]) if len(learner.objective_) else 0.0
        seconds = time.perf_counter() - begin
        return encoder, distance, Epoch(1, loss, figures, seconds, len(records), 1, stage)

    def _learner(self) -> Any:
        known = inspect.signature(self._kind).parameters
        options = dict(self._settings.loss)
        for name in options:
            if name not in known:
                import difflib  # only after a mistake, as it costs start-up time

                near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"
                raise InputError(f"loss: {self.name} has no option {name!r}; {hint}")
        if self._settings.dimension is not None:
            if "n_components" not in known:
                raise InputError(f"dimension doesn't apply to method {self._settings.method}; leave it out")
            options["n_components"] = self._settings.dimension
        if "random_state" in known:
            options.setdefault("random_state", self._settings.seed)
        return self._kind(**options)

    def _known(self, records: Records) -> dict[str, Any]:
        """What is known of the records, as the learner's ``fit`` takes it."""
        supervision = supervision_of(records)
        if supervision == "labels":
            return {"y": records.labels}
        takes = set(inspect.signature(self._kind.fit).parameters)
        if supervision in takes:
            return {supervision: learnable_relation(records)}
        if supervision == "views" and not self._kind._needs_labels:
            return {}
        relations = sorted(takes & {"pairs", "triplets", "scores"})
        raise InputError(
            f"method {self._settings.method} learns from {' or '.join(['labels', *relations])}; "
            f"found {'no labels' if supervision == 'views' else supervision}"
        )

    def _joined(
        self,
        learned: Model,
        mean: NDArray[np.float64],
        scale: NDArray[np.float64],
        kept: NDArray[np.float64],
    ) -> tuple[nn.Module, Distance]:
        """The encoder and one layer that standardises and maps as was learned; and the learned distance."""
        own = learned.preprocessing.state_dict()
        layer = learned.encoder.state_dict()
        inner, offset = layer["layers.0.weight"].double(), layer["layers.0.bias"].double()
        weight = inner / own["scale"].double()
        bias = offset - weight @ own["mean"].double()
        if kept.shape[1] < len(kept):
            weight = weight @ torch.from_numpy(kept @ kept.T)
        weight = weight / torch.from_numpy(scale)
        bias = bias - weight @ torch.from_numpy(mean)
        k, d = weight.shape
        made: nn.Module
        if self._body is None:
            flat = MLP(d, dimension=k, hidden=(), shortcut=False)
            made, last = flat, cast("nn.Linear", flat.layers[0])
        elif isinstance(self._body, Encoder):
            headed = Headed(self._body, head="linear", dimension=k)
            made, last = headed, headed.head.map
        else:
            last = nn.Linear(d, k)
            made = nn.Sequential(self._body, last)
        with torch.no_grad():
            last.weight.copy_(weight)
            last.bias.copy_(bias)
        return made.to(self._device).eval(), learned.distance


def _check_settings(settings: TrainingSettings) -> None:
    for own in fields(TrainingSettings):
        default = own.default if own.default is not MISSING else {}
        if own.name not in _READ and getattr(settings, own.name) != default:
            raise InputError(
                f"{own.name} doesn't apply to method {settings.method}, which is fitted at once on the "
                "features of an encoder that stays as it is; leave it out"
            )


def _training(
    records: Records, settings: TrainingSettings, encoder: nn.Module, learner: str
) -> dict[str, Any]:
    """What trains it again, and under ``trained`` what came of it."""
    described = config_of(encoder) or {"class": type(encoder).__qualname__}
    said = {**settings.to_mapping(), "data": settings.data or records.name}
    if "class" in described:
        said["encoder"] = described
    return {
        **{own.name: said[own.name] for own in fields(settings) if own.name in said},
        "trained": {
            "best_epoch": 1,
            "data_fingerprint": records.fingerprint,
            "encoder": described,
            "loss": learner,
            **({"skipped": records.skipped} if records.skipped else {}),
            "library_version": likewise.__version__,
            "torch_version": str(torch.__version__),
        },
    }
