"""The one-euro filter (Casiez, Roussel and Vogel, CHI 2012)."""

import math

import numpy as np
from jaxtyping import Float


class OneEuroFilter:
    """Low-pass filter whose cutoff rises with the speed: calm at rest, prompt in motion.

    Args:
        min_cutoff: Cutoff at rest, Hz; lower is calmer.
        beta: Rise of the cutoff with the speed, Hz for each unit a second; higher is prompter.
        speed_cutoff: Cutoff of the speed's own filter, Hz.
    """

    def __init__(self, min_cutoff: float = 1.5, beta: float = 1.0, speed_cutoff: float = 1.0):
        self.min_cutoff, self.beta, self.speed_cutoff = min_cutoff, beta, speed_cutoff
        self.reset()

    def reset(self) -> None:
        """Forgets the past, after a gap."""
        self._value: np.ndarray | None = None
        self._speed: np.ndarray | float = 0.0

    def __call__(self, value: Float[np.ndarray, "*d"], seconds: float) -> Float[np.ndarray, "*d"]:
        """The filtered value; each entry is filtered for itself.

        Args:
            value: The next measurement.
            seconds: Time since the one before; above 0.
        """
        value = np.asarray(value, np.float64)
        if self._value is None:
            self._value, self._speed = value, np.zeros_like(value)
            return value
        speed = (value - self._value) / seconds
        self._speed = self._speed + _share(self.speed_cutoff, seconds) * (speed - self._speed)
        cutoff = self.min_cutoff + self.beta * np.abs(self._speed)
        self._value = self._value + _share(cutoff, seconds) * (value - self._value)
        return self._value


def _share(cutoff: float | np.ndarray, seconds: float) -> float | np.ndarray:
    """Weight of the newest value in an exponential mean of this cutoff."""
    turns = 2 * math.pi * cutoff * seconds
    return turns / (turns + 1)
