"""Measures of a hand, and those of the studio's four subjects."""

from dataclasses import dataclass, replace

import numpy as np

from dhm.errors import BadInputError
from dhm.geometry.hand_rig import FINGERS

# Overall size and stoutness of the subjects: a large, a small (female), a stout, a long hand.
_SIZES = (1.06, 0.90, 1.02, 1.10)
_STOUTNESS = (1.02, 0.90, 1.06, 0.98)
NUM_SUBJECTS = len(_SIZES)


@dataclass(frozen=True)
class Proportions:
    """Measures of a hand in mm, one row a finger from thumb to pinky.

    Attributes:
        lengths: Bone lengths from the root to the tip (the thumb has one more).
        radii: Half-width at the joints and near the tip. The studio's thumb begins at its second
            joint, the toy's at its root.
        roots: Position of the thumb's base and of the four knuckles in the hand's frame.
        splay: Sideways angle of the four fingers, radians, positive to the thumb.
        roll: Rotation of the four fingers about their own axis, radians.
        thickness: Factor on the flesh of palm and wrist.
        cupping: Largest rotation of the little finger's knuckle into the palm, radians; the ring
            finger's rotates half as far. The model's rig cannot follow it.
        jitter: Relative standard deviation of each primitive's radii; the standard deviation of
            its ends is 15 mm times this.
        seed: Selects the jitter and the skin's irregularities.
    """

    lengths: tuple[tuple[float, ...], ...] = (
        (17.0, 45.0, 32.5, 28.5),
        (43.0, 25.0, 22.5),
        (48.0, 29.0, 24.0),
        (44.5, 28.0, 24.0),
        (35.0, 20.5, 21.0),
    )
    radii: tuple[tuple[float, ...], ...] = (
        (11.4, 10.6, 8.4),
        (11.0, 9.6, 8.3, 6.6),
        (11.2, 9.8, 8.5, 6.8),
        (10.6, 9.2, 8.0, 6.5),
        (9.4, 8.0, 7.0, 5.7),
    )
    roots: tuple[tuple[float, float, float], ...] = (
        (12.0, 5.0, 14.0),
        (91.0, -2.5, 23.0),
        (89.5, -4.5, 1.5),
        (83.0, -3.0, -18.0),
        (75.0, 1.5, -35.0),
    )
    splay: tuple[float, ...] = (0.096, 0.009, -0.087, -0.209)
    roll: tuple[float, ...] = (-0.105, 0.0, 0.105, 0.209)
    thickness: float = 1.0
    cupping: float = 0.0
    jitter: float = 0.0
    seed: int = 0

    def bone(self, joint: str) -> tuple[float, float, float]:
        """Returns length and radii at the near and far end of the bone after a digit's joint, mm.

        Args:
            joint: From the knuckle on; for the thumb from its second joint.
        """
        finger, bone = FINGERS.index(joint[:-1]), int(joint[-1])
        # Counted from the tip, because the thumb has one more bone and no radius at its base.
        return (
            self.lengths[finger][bone - 4],
            self.radii[finger][bone - 5],
            self.radii[finger][bone - 4],
        )


def subject(number: int) -> Proportions:
    """Returns the measures of a subject: 0 is the template's average hand, 1 to 4 the people.

    Raises:
        BadInputError: There is no such subject.
    """
    if number == 0:
        return Proportions()
    if number not in range(1, len(_SIZES) + 1):
        raise BadInputError("subject", str(number), f"0 (the template) to {len(_SIZES)}")
    rng = np.random.default_rng(100 + number)
    return varied_proportions(rng, _SIZES[number - 1], _STOUTNESS[number - 1], seed=number)


def varied_proportions(
    rng: np.random.Generator, size: float, stoutness: float, seed: int
) -> Proportions:
    """Returns the measures of a random person around the average hand.

    Args:
        rng: Draws the deviation of each measure.
        size: Overall size, relative to the average.
        stoutness: Thickness for its size, relative to the average.
        seed: Selects the jitter and the skin's irregularities.
    """
    girth = stoutness * np.sqrt(size)
    average = Proportions()

    def varied(rows: tuple, factor: float, relative: float, shift: float = 0.0) -> tuple:
        return tuple(
            tuple(
                float(x * factor * (1 + rng.normal(0, relative)) + rng.normal(0, shift))
                for x in row
            )
            for row in rows
        )

    return replace(
        average,
        lengths=varied(average.lengths, size, 0.035),
        radii=varied(average.radii, girth, 0.02),
        roots=varied(average.roots, size, 0.015, 0.7),
        splay=tuple(float(angle + rng.normal(0, 0.026)) for angle in average.splay),
        roll=tuple(float(angle + rng.normal(0, 0.035)) for angle in average.roll),
        thickness=float(girth),
        cupping=float(np.radians(3.0)),
        jitter=0.02,
        seed=seed,
    )
