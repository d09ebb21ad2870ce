"""What each corrective adds to the template (figures 4 and 9 of the paper), pose by pose."""

from typing import Any

import jax

from dhm.evaluation.evaluate import batch_of
from dhm.networks.hand_model import HandModel, decode_aligned
from dhm.report.figures import Example, Hand, measured_hand

_TITLES = {"skeleton": "skeleton corrective", "identity": "identity corrective",
           "pose": "pose corrective"}  # fmt: skip


def corrective_steps(
    model: HandModel, variables: dict[str, Any], examples: list[Example]
) -> list[dict[str, Hand]]:
    """Each example's hand with one corrective more from step to step, by the step's name.

    All steps have the angles that bring the whole model's joints closest to the true ones, and are
    aligned each by itself: what differs is the hand.

    Args:
        model: The hand model, with some or all correctives.
        variables: Its variables.
        examples: From `make_examples`.
    """
    if not examples:
        return []
    batch = batch_of(
        [example.record for example in examples],
        [example.fields for example in examples],
        [example.image for example in examples],
    )
    theta = jax.jit(lambda v, b: model.apply(v, b.joints, b.joint_valid, method="fit").theta)(
        variables, batch
    )
    hands: list[dict[str, Hand]] = [{} for _ in examples]
    for count in range(len(model.correctives) + 1):
        fewer = model.clone(correctives=model.correctives[:count])
        decode = jax.jit(lambda v, t, b, fewer=fewer: decode_aligned(fewer, v, t, b)[0])
        output = jax.device_get(decode(variables, theta, batch))
        name = f"+ {_TITLES[model.correctives[count - 1]]}" if count else "Template, skinned"
        for row, example in enumerate(examples):
            hands[row][name] = measured_hand(output, batch, row, model.template.faces, example.scan)
    return hands
