"""Fit an encoder with a loss: methods, the loop, what is held back, checkpoints, and the calibration."""

from likewise.training.assembly import device_from, encoder_of, plan_from, refuse_foreign
from likewise.training.average import Average
from likewise.training.calibrating import calibrate, platt
from likewise.training.learner import Learner, NotFiniteError, Stepping
from likewise.training.loop import Batches, Keeper, Validation, fit
from likewise.training.memory import OutOfMemoryError
from likewise.training.methods import (
    DEFAULT_METHODS,
    METHODS,
    Method,
    Supervision,
    method_for,
    method_from_name,
)
from likewise.training.passes import lines_of, train_passes
from likewise.training.plan import (
    Plan,
    SamplerMaker,
    distance_of,
    epochs_for,
    few_classes_of_images,
    sampler_for,
)
from likewise.training.processes import Place, joined, place
from likewise.training.progress import Epoch, Fit
from likewise.training.run_folder import RunFolder
from likewise.training.schedule import Schedule
from likewise.training.state import Saved
from likewise.training.task import Batch, Task, supervision_of
from likewise.training.validation import FIGURES, HeldOut, HoldOut, hold_out, mean_average_precision
from likewise.training.watching import live_table, tensorboard_events

__all__ = [
    "DEFAULT_METHODS",
    "FIGURES",
    "METHODS",
    "Average",
    "Batch",
    "Batches",
    "Epoch",
    "Fit",
    "HeldOut",
    "HoldOut",
    "Keeper",
    "Learner",
    "Method",
    "NotFiniteError",
    "OutOfMemoryError",
    "Place",
    "Plan",
    "RunFolder",
    "SamplerMaker",
    "Saved",
    "Schedule",
    "Stepping",
    "Supervision",
    "Task",
    "Validation",
    "calibrate",
    "device_from",
    "distance_of",
    "encoder_of",
    "epochs_for",
    "few_classes_of_images",
    "fit",
    "hold_out",
    "joined",
    "lines_of",
    "live_table",
    "mean_average_precision",
    "method_for",
    "method_from_name",
    "place",
    "plan_from",
    "platt",
    "refuse_foreign",
    "sampler_for",
    "supervision_of",
    "tensorboard_events",
    "train_passes",
]
