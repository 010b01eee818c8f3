"""From a distance to a probability of being alike, and to a verdict."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Calibration", "Verdict"]


@dataclass(frozen=True)
class Calibration:
    """Platt's ``p(alike | d) = 1 / (1 + exp(slope d - offset))``, at equal odds before looking.

    Parameters
    ----------
    slope, offset : float
        Of the distance; slope > 0.
    threshold : float
        Alike where the distance is at most this.
    held_out : str
        ``classes`` when it was fitted on pairs of training classes that the encoder had not seen,
        ``items`` when there were too few classes and it was fitted on unseen items of seen ones, which
        flatters new classes.
    """

    slope: float
    offset: float
    threshold: float
    held_out: str

    def probability(self, distance: Any) -> NDArray[np.float64]:
        """The probability of being alike, of distances of any shape.

        >>> Calibration(slope=2.0, offset=1.0, threshold=0.5, held_out="classes").probability(0.5).item()
        0.5
        """
        logit = self.offset - self.slope * np.asarray(distance, dtype=np.float64)
        # Without overflow on either side.
        small = np.exp(-np.abs(logit))
        return np.where(logit >= 0, 1 / (1 + small), small / (1 + small))


@dataclass(frozen=True)
class Verdict:
    """Whether two items are alike, and how surely."""

    alike: bool
    distance: float
    threshold: float
    probability: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def __str__(self) -> str:
        word = "alike" if self.alike else "not alike"
        return (
            f"{word}: distance {self.distance:.4f} (threshold {self.threshold:.4f}), "
            f"probability of being alike {self.probability:.1%}"
        )
