"""Fit an encoder with a loss: the loop, what is held back, the calibration, and the named methods."""

from likewise.training.loop import Epoch, Fit, Schedule, fit
from likewise.training.methods import METHODS, Method, method_from_name
from likewise.training.plan import Plan, distance_of, epochs_for, few_classes_of_images, train_twice
from likewise.training.validation import HoldOut, calibrate, hold_out, mean_average_precision, platt

__all__ = [
    "METHODS",
    "Epoch",
    "Fit",
    "HoldOut",
    "Method",
    "Plan",
    "Schedule",
    "calibrate",
    "distance_of",
    "epochs_for",
    "few_classes_of_images",
    "fit",
    "hold_out",
    "mean_average_precision",
    "method_from_name",
    "platt",
    "train_twice",
]
