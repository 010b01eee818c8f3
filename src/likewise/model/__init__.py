"""A model: preprocessing, encoder, distance and calibration, saved as a folder of arrays and JSON."""

from likewise.model.calibration import Calibration, Verdict
from likewise.model.model import Model

__all__ = ["Calibration", "Model", "Verdict"]
