"""A model: preprocessing, encoder, distance and calibration, saved as a folder of arrays and JSON."""

from likewise.model.calibration import Calibration, Verdict
from likewise.model.model import Model
from likewise.model.vectors import check_vectors, write_vectors

__all__ = ["Calibration", "Model", "Verdict", "check_vectors", "write_vectors"]
