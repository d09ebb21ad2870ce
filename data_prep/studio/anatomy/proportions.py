"""The measures of a hand and of the studio's four subjects."""

from dataclasses import dataclass, replace

import numpy as np

from dhm.errors import BadInputError

# Overall size and stoutness of the subjects: a large, a small (female), a stout, a long hand.
_SIZES = (1.06, 0.90, 1.02, 1.10)
_STOUTNESS = (1.02, 0.90, 1.06, 0.98)
NUM_SUBJECTS = len(_SIZES)


@dataclass(frozen=True)
class Proportions:
    """Measures of a hand in mm, one row a finger from thumb to pinky.

    Attributes:
        lengths: Bone lengths from the root to the tip (the thumb has one more).
        radii: Half-width at the joints from the knuckle on and near the tip; the thumb's begin at
            its second joint.
        roots: Position of the thumb's base and of the four knuckles in the hand's frame.
        splay: Sideways angle of the four fingers, radians, positive to the thumb.
        roll: Rotation of the four fingers about their own axis, radians.
        thickness: Factor on the flesh of palm and wrist.
        cupping: How far the little finger's knuckle turns into the palm at most, radians; the
            ring finger's turns half as far. The model's rig cannot follow.
        jitter: Standard deviation of each primitive's own deviation, relative for radii; ends
            move by it times 15 mm.
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


def subject(number: int) -> Proportions:
    """Returns a subject's measures: 0 is the template's average hand, 1 to 4 are the subjects.

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
    """Returns a person's measures around the average hand's.

    Args:
        rng: Draws how each measure deviates.
        size: Overall size, 1 is the average.
        stoutness: How thick for its size, 1 is the average.
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
