"""The studio's hand template: the average hand at zero pose, with skinning weights and UVs.

It has a trace of the average hand's creases and none of the subjects' features.
"""

from collections.abc import Callable
from pathlib import Path

import igl
import numpy as np
from jaxtyping import Bool, Float, Int

from data_prep.studio.anatomy.anatomy import pose_anatomy
from data_prep.studio.anatomy.field import hand_distance, part_distances
from data_prep.studio.anatomy.narrow_band import WRIST_CUT
from data_prep.studio.anatomy.proportions import Proportions
from data_prep.studio.anatomy.rig import rig_parents, rig_transforms
from data_prep.studio.anatomy.skin import skin_coordinates, skin_relief
from data_prep.studio.anatomy.surface import skin_mesh, smooth_normals
from data_prep.studio.template.atlas import make_atlas
from data_prep.studio.template.remesh import remesh
from data_prep.studio.template.skin_weights import skin_weights
from dhm.formats.hand_template import read_template
from dhm.geometry.hand_rig import JOINT_NAMES
from dhm.geometry.mesh import boundary_loops
from dhm.types import HandTemplate

FOLDER = Path(__file__).parent / "assets"
GRID_MM = {"full": 2.135, "coarse": 2.6}
"""Resolution of the grid from which each template is extracted."""

_COARSE_FACES = 1850
_ROUNDS = 12
_RELIEF = 0.35  # share of the creases that the template has


def hand_template(kind: str) -> HandTemplate:
    """Returns the shipped template.

    Args:
        kind: "full", about 12,500 vertices, or "coarse", under 1,000 (paper section 8.3).

    Raises:
        BadInputError: The file is damaged.
    """
    return read_template(template_file(kind))


def template_file(kind: str) -> Path:
    """Returns the file of the shipped template; for `kind` see `hand_template`."""
    return FOLDER / f"hand_template_{kind}.npz"


def build_template(kind: str) -> HandTemplate:
    """Builds a template, equal to the shipped one within 0.01 mm; `kind` as in `hand_template`."""
    proportions = Proportions()
    anatomy = pose_anatomy(proportions, np.zeros(28))

    def onto_skin(points: Float[np.ndarray, "v 3"]) -> Float[np.ndarray, "v 3"]:
        in_cut = points[:, 0] < WRIST_CUT + 1e-3
        return project_to_surface(lambda p: hand_distance(anatomy, p), points, in_cut, 2, 1.0)

    surface = skin_mesh(proportions, np.zeros(28), GRID_MM[kind])
    vertices, faces = surface.vertices, surface.faces
    if kind == "coarse":
        vertices, faces = _coarsened(vertices, faces)
    vertices, faces = remesh(vertices, faces, onto_skin, _ROUNDS)
    skin = skin_coordinates(anatomy, vertices, part_distances(anatomy.cones, vertices))
    weights = skin_weights(proportions, vertices, faces, skin.part)
    uvs, faces_uv = make_atlas(proportions, vertices, faces, skin.part)
    if kind == "full":
        relief = _RELIEF * skin_relief(proportions, skin, anatomy.flexions)
        vertices = vertices + relief[:, None] * smooth_normals(vertices, faces)
    return HandTemplate(
        joint_names=JOINT_NAMES,
        parents=rig_parents(),
        T_parent_joint=rig_transforms(proportions).astype(np.float32),
        v_template=vertices.astype(np.float32),
        faces=faces.astype(np.int32),
        lbs_weights=weights.astype(np.float32),
        uvs=uvs.astype(np.float32),
        faces_uv=faces_uv.astype(np.int32),
    )


def _coarsened(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> tuple[Float[np.ndarray, "w 3"], Int[np.ndarray, "g 3"]]:
    vertices, faces, *_ = igl.decimate(
        np.asfortranarray(vertices), np.asfortranarray(faces.astype(np.int32)), _COARSE_FACES
    )
    vertices, faces = np.ascontiguousarray(vertices), faces.astype(np.int64, order="C")
    vertices[boundary_loops(faces)[0], 0] = WRIST_CUT  # decimation moves the border
    return vertices, faces


def project_to_surface(
    distance: Callable[[Float[np.ndarray, "v 3"]], Float[np.ndarray, " v"]],
    vertices: Float[np.ndarray, "v 3"],
    on_rim: Bool[np.ndarray, " v"],
    rounds: int,
    longest_step: float,
) -> Float[np.ndarray, "v 3"]:
    """Moves points to the zero of a distance field by damped Newton steps along its gradient.

    Args:
        distance: Signed distance of points, mm.
        vertices: The points, mm.
        on_rim: Points that keep their x, as those in the forearm's cut.
        rounds: Number of steps.
        longest_step: Bound of each step, mm.
    """
    step = 0.05
    for _ in range(rounds):
        value = distance(vertices).astype(float)
        ends = [distance(vertices + s) - distance(vertices - s) for s in step * np.eye(3)]
        slope = np.stack(ends, axis=1) / (2 * step)
        slope[on_rim, 0] = 0.0
        move = value[:, None] * slope / np.maximum((slope**2).sum(axis=1, keepdims=True), 0.3)
        length = np.linalg.norm(move, axis=1, keepdims=True)
        vertices = vertices - move * np.minimum(1.0, longest_step / np.maximum(length, 1e-9))
    return vertices
