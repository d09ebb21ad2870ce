"""The variants of a config that an ablation compares."""

from typing import NamedTuple

# Meshes in the encoder's pose, as in the paper: otherwise no gradient of the depth maps reaches the
# encoder, and neither L_pose nor the stopped gradient has an effect.
_PAPER_POSE = ("train.mesh_pose=encoder", "train.mesh_samples=4")


class Variant(NamedTuple):
    """A config with some settings changed.

    Attributes:
        title: Its name in tables.
        settings: "key=value" of the config.
        against: The variant that it is compared with; None for the references.
        most_seeds: Largest number of its seeds, None for any.
    """

    title: str
    settings: tuple[str, ...] = ()
    against: str | None = "full"
    most_seeds: int | None = None


VARIANTS = {
    "full": Variant("ours", (), None),
    "linear": Variant(
        "linear model (MANO-style, or MANO)", ("decoder.kind=linear", "loss.laplacian=0.0")
    ),
    # The Laplacian of a mesh grows with the fourth power of its edges' length.
    "coarse": Variant("ours, low resolution", ("studio.template=coarse", "loss.laplacian=0.2")),
    "no_skeleton": Variant(
        "without skeleton corrective", ("decoder.correctives=('identity','pose')",)
    ),
    "no_identity": Variant(
        "without identity corrective", ("decoder.correctives=('skeleton','pose')",)
    ),
    "no_pose": Variant("without pose corrective", ("decoder.correctives=('skeleton','identity')",)),
    "paper_penetration": Variant(
        "L_penet as in the paper",
        ("loss.penetration=1.0", "loss.non_rigid=5.0", "loss.rest_overlap=counts"),
    ),
    "no_penetration": Variant("without L_penet", ("loss.penetration=0.0",)),
    "no_non_rigid": Variant("without L_penet's non-rigid part", ("loss.non_rigid=0.0",)),
    "paper_pose": Variant("ours, meshes in the encoder's pose", _PAPER_POSE, None),
    "no_joint": Variant("the same without L_pose", (*_PAPER_POSE, "loss.joint=0.0"), "paper_pose"),
    "no_stop_gradient": Variant(
        "the same without stopped gradient",
        (*_PAPER_POSE, "decoder.stop_pose_gradient=False"),
        "paper_pose",
    ),
    "views_3": Variant("C_out = 3", ("train.num_views=3",)),
    "views_6": Variant("C_out = 6", ("train.num_views=6",)),
    # They take four and sixteen times as long as the demo's 64 x 64 pixels: one run each.
    "size_128": Variant("128 x 128 pixels", ("data.image_size=128",), most_seeds=1),
    "size_256": Variant("256 x 256 pixels", ("data.image_size=256",), most_seeds=1),
}


def run_name(variant: str, subject: int, seed: int) -> str:
    """Returns the name of a run's folder within the ablation's."""
    return f"{variant}_subject{subject}_seed{seed}"
