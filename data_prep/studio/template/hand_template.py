"""The artist's hand of the studio: `python -m data_prep.studio.template` rebuilds its files.

The average hand at zero pose, its creases but faintly there, as an even mesh with skinning weights
and texture coordinates. It knows nothing of the subjects.
"""

from pathlib import Path

import igl
import numpy as np
from jaxtyping import Float, Int

from data_prep.studio.anatomy.anatomy import Anatomy, pose_anatomy
from data_prep.studio.anatomy.field import hand_distance, part_distances
from data_prep.studio.anatomy.joint_tree import rig_parents
from data_prep.studio.anatomy.narrow_band import WRIST_CUT
from data_prep.studio.anatomy.normals import smooth_normals
from data_prep.studio.anatomy.proportions import Proportions
from data_prep.studio.anatomy.rig import rig_transforms
from data_prep.studio.anatomy.skin import skin_relief
from data_prep.studio.anatomy.skin_coordinates import skin_coordinates
from data_prep.studio.anatomy.surface import hand_surface
from data_prep.studio.template.atlas import make_atlas
from data_prep.studio.template.remesh import remesh
from data_prep.studio.template.skin_weights import skin_weights
from dhm.formats.hand_template import read_template, write_template
from dhm.geometry.hand_rig import JOINT_NAMES
from dhm.geometry.topology import boundary_loops
from dhm.types import HandTemplate

FOLDER = Path(__file__).parent / "assets"
_GRID_MM = {"full": 2.135, "coarse": 2.6}
_COARSE_FACES = 1850
_ROUNDS = 12
_RELIEF = 0.35
"""Share of the creases that the template has: an artist's hint at what the person brings."""


def hand_template(kind: str) -> HandTemplate:
    """Returns the shipped template.

    Args:
        kind: "full", about 12,500 vertices, or "coarse", under 1,000 (paper section 8.3).

    Raises:
        BadInputError: The file is damaged.
    """
    return read_template(template_file(kind))


def build_template(kind: str) -> HandTemplate:
    """Builds a template anew, equal to the shipped one within 0.01 mm."""
    proportions = Proportions()
    anatomy = pose_anatomy(proportions, np.zeros(28))
    surface = hand_surface(proportions, np.zeros(28), _GRID_MM[kind])
    vertices, faces = surface.vertices, surface.faces
    if kind == "coarse":
        vertices, faces = _coarsened(vertices, faces)
    vertices, faces = remesh(vertices, faces, lambda v: _onto_skin(anatomy, v), _ROUNDS)
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
    vertices[boundary_loops(faces)[0], 0] = WRIST_CUT  # decimation lets the border wander
    return vertices, faces


def _onto_skin(anatomy: Anatomy, vertices: Float[np.ndarray, "v 3"]) -> Float[np.ndarray, "v 3"]:
    """Two Newton steps to the field's zero; what lies in the forearm's cut stays in it."""
    step = 0.05
    in_cut = vertices[:, 0] < WRIST_CUT + 1e-3
    for _ in range(2):
        value = hand_distance(anatomy, vertices).astype(float)
        slope = np.stack(
            [
                hand_distance(anatomy, vertices + shift) - hand_distance(anatomy, vertices - shift)
                for shift in step * np.eye(3)
            ],
            axis=1,
        ) / (2 * step)
        slope[in_cut, 0] = 0.0
        move = value[:, None] * slope / np.maximum((slope**2).sum(axis=1, keepdims=True), 0.3)
        vertices = vertices - np.clip(move, -1.0, 1.0)
    return vertices


def template_file(kind: str) -> Path:
    """Returns the file of the shipped template."""
    return FOLDER / f"hand_template_{kind}.npz"


def main() -> None:
    """Writes both templates."""
    FOLDER.mkdir(exist_ok=True)
    for kind in _GRID_MM:
        template = build_template(kind)
        write_template(template_file(kind), template)
        size = template_file(kind).stat().st_size / 1e6
        print(f"{template_file(kind).name}: {template.num_vertices} vertices, {size:.2f} MB")
