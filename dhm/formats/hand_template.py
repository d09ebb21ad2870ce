"""Files of hand templates: the released hand_model folder, and one .npz file.

The folder holds an artist's mesh, rig and skinning weights as text in centimetres and millimetres;
the .npz file holds the arrays of a `HandTemplate` exactly.
"""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dhm.errors import BadInputError
from dhm.formats.npz import Arrays
from dhm.formats.obj import ObjMesh, read_obj, write_obj
from dhm.formats.text import Line, read_lines, read_text
from dhm.types import HandTemplate

MAX_JOINTS = 1000
"""Of a skeleton; a body with hands has a hundred."""

_MM_PER_CM = 10.0
# Of a complete template hardly any vertex is in no face; of one cut inside its faces many are.
_MAX_LOOSE_VERTICES = 0.01
# Diagonal of the mesh's box over that of the joints'; 1.1 to 1.5 of a hand, 2 with a forearm.
_MESH_OVER_JOINTS = (0.4, 4.0)
_WEIGHT_TOLERANCE = 1e-3
_SIDE = "b_r_"
_A_PARENT = "the id of a joint, or -1 for the root"


def write_template(path: Path, template: HandTemplate) -> None:
    """Writes a template as one .npz file, exactly."""
    arrays = {f.name: np.asarray(getattr(template, f.name)) for f in dataclasses.fields(template)}
    np.savez_compressed(path, **arrays)


def read_template(path: Path) -> HandTemplate:
    """Reads a template that `write_template` wrote.

    Raises:
        BadInputError: The file is missing or damaged, lacks an array, or the arrays are no hand:
            shapes, indices, parents, weights or transforms do not fit.
    """
    arrays = Arrays(path)
    names = arrays.of("joint_names", "U", None).tolist()
    vertices = arrays.of("v_template", "f", None, 3)
    faces = arrays.of("faces", "iu", None, 3)
    template = HandTemplate(
        joint_names=tuple(names),
        parents=tuple(arrays.of("parents", "iu", len(names)).tolist()),
        T_parent_joint=arrays.of("T_parent_joint", "f", len(names), 4, 4),
        v_template=vertices,
        faces=faces,
        lbs_weights=arrays.of("lbs_weights", "f", len(vertices), len(names)),
        uvs=arrays.of("uvs", "f", None, 2),
        faces_uv=arrays.of("faces_uv", "iu", len(faces), 3),
    )
    _check_indices(path, template)
    _check_numbers(path, template)
    return template


def _check_indices(path: Path, template: HandTemplate) -> None:
    for name, count in {"faces": template.num_vertices, "faces_uv": len(template.uvs)}.items():
        indices = getattr(template, name)
        if indices.size and not (indices.min() >= 0 and indices.max() < count):
            found = f"{name} from {indices.min()} to {indices.max()}"
            raise BadInputError(path, found, f"indices below {count}")
    check_tree(path, Skeleton(template.joint_names, template.parents))


def _check_numbers(path: Path, template: HandTemplate) -> None:
    sums = template.lbs_weights.sum(axis=1)
    if len(sums) and np.abs(sums - 1).max() > _WEIGHT_TOLERANCE:
        found = f"lbs_weights whose rows sum to {sums[np.abs(sums - 1).argmax()]:.6g}"
        raise BadInputError(path, found, "rows that sum to 1")
    last_rows = template.T_parent_joint[:, 3]
    if np.abs(last_rows - [0, 0, 0, 1]).max() > 1e-6:
        worst = last_rows[np.abs(last_rows - [0, 0, 0, 1]).max(axis=1).argmax()]
        found = f"a T_parent_joint with the last row {worst.tolist()}"
        raise BadInputError(path, found, "rigid transforms with the last row 0 0 0 1")


def read_hand_model(folder: str | Path) -> HandTemplate:
    """Reads a folder of hand.obj, skeleton.txt, skinning_weight.txt and three pose files.

    Joints keep the ids of skeleton.txt and lose the right hand's prefix in their names; the other
    files refer to them by name, in any order.

    Raises:
        BadInputError: A file is missing, truncated or contradicts another: see the readers below.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BadInputError(folder, "no such folder", "the capture's hand_model folder")
    skeleton = read_skeleton(folder / "skeleton.txt")
    T_parent_joint = _read_rest_pose(folder, skeleton)
    mesh = read_obj(folder / "hand.obj")
    if not read_text(folder / "hand.obj").endswith("\n"):
        # A last index that lost its last digit would be read as another one.
        found = "a last line without its end"
        raise BadInputError(folder / "hand.obj", found, "a complete file (or add a newline)")
    if mesh.uvs is None or mesh.faces_uv is None:
        found = "a corner without a texture coordinate"
        raise BadInputError(folder / "hand.obj", found, "faces of v/vt or v/vt/vn corners")
    loose = len(mesh.vertices) - len(np.unique(mesh.faces))
    if loose > _MAX_LOOSE_VERTICES * len(mesh.vertices):
        found = f"{loose} of {len(mesh.vertices)} vertices in no face"
        raise BadInputError(folder / "hand.obj", found, "a complete file")
    _check_unit(folder / "hand.obj", mesh.vertices * _MM_PER_CM, T_parent_joint, skeleton)
    lbs_weights = _read_weights(folder / "skinning_weight.txt", skeleton, len(mesh.vertices))
    return HandTemplate(
        joint_names=tuple(name.removeprefix(_SIDE) for name in skeleton.names),
        parents=skeleton.parents,
        T_parent_joint=T_parent_joint.astype(np.float32),
        v_template=(mesh.vertices * _MM_PER_CM).astype(np.float32),
        faces=mesh.faces,
        lbs_weights=lbs_weights.astype(np.float32),
        uvs=mesh.uvs.astype(np.float32),
        faces_uv=mesh.faces_uv,
    )


def write_hand_model(template: HandTemplate, folder: str | Path) -> None:
    """Writes a template as the six text files that `read_hand_model` reads."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    skeleton = Skeleton(tuple(_SIDE + name for name in template.joint_names), template.parents)
    write_skeleton(folder / "skeleton.txt", skeleton)
    T_parent_joint = template.T_parent_joint.astype(np.float64)
    T_model_joint = _compose(T_parent_joint, skeleton)
    _write_transforms(folder / "local_pose.txt", T_parent_joint, skeleton)
    _write_transforms(folder / "global_pose.txt", T_model_joint, skeleton)
    _write_transforms(folder / "global_pose_inv.txt", np.linalg.inv(T_model_joint), skeleton)
    _write_weights(folder / "skinning_weight.txt", template.lbs_weights, skeleton)
    vertices = template.v_template.astype(np.float64) / _MM_PER_CM
    write_obj(
        folder / "hand.obj", ObjMesh(vertices, template.faces, template.uvs, template.faces_uv)
    )


class Skeleton(NamedTuple):
    """A tree of joints: the name and the parent (-1 for the root) of each id, in any order."""

    names: tuple[str, ...]
    parents: tuple[int, ...]

    def index(self, line: Line, name: str) -> int:
        """Returns the id of a joint that a line refers to, or raises BadInputError."""
        if name not in self.names:
            raise line.refusal(f"unknown joint {name!r}", "a joint of skeleton.txt")
        return self.names.index(name)

    def root_first(self) -> list[int]:
        """Returns the ids, parents before their children."""
        order = [self.parents.index(-1)]
        for joint in order:
            order += [child for child, parent in enumerate(self.parents) if parent == joint]
        return order


def read_skeleton(path: str | Path) -> Skeleton:
    """Reads `name id parent_id` lines in any order.

    Raises:
        BadInputError: A truncated line, a name or id twice, ids with gaps, a parent that does
            not exist, no root or two, or a cycle.
    """
    lines = read_lines(path)
    if not 0 < len(lines) <= MAX_JOINTS:
        found = f"{len(lines)} joints" if lines else "no joint"
        raise BadInputError(path, found, f"1 to {MAX_JOINTS} lines `name id parent_id`")
    rows: dict[int, tuple[str, int, Line]] = {}
    for line in lines:
        if len(line.tokens) != 3:
            raise line.refusal(f"{len(line.tokens)} values", "a line `name id parent_id`")
        name, joint, parent = line.tokens[0], *(line.int(t, "an id") for t in line.tokens[1:])
        if joint in rows or name in (row[0] for row in rows.values()):
            raise line.refusal(f"joint {name} {joint}: name or id a second time", "each once")
        rows[joint] = (name, parent, line)
    if sorted(rows) != list(range(len(rows))):
        raise BadInputError(path, f"ids {sorted(rows)}", f"the ids 0 to {len(rows) - 1}")
    names, parents, ordered = zip(*(rows[joint] for joint in range(len(rows))), strict=True)
    skeleton = Skeleton(names, parents)
    for parent, line in zip(parents, ordered, strict=True):
        if not -1 <= parent < len(names):
            raise line.refusal(f"parent {parent}", _A_PARENT)
    check_tree(Path(path), skeleton)
    return skeleton


def check_tree(path: Path, skeleton: Skeleton) -> None:
    """Checks that a skeleton is one tree.

    Args:
        path: Its file, for error messages.
        skeleton: Names and parents.

    Raises:
        BadInputError: There are more than MAX_JOINTS joints, a parent does not exist, there is no
            root or two, or a cycle.
    """
    if len(skeleton.names) > MAX_JOINTS:
        raise BadInputError(path, f"{len(skeleton.names)} joints", f"at most {MAX_JOINTS}")
    for parent in skeleton.parents:
        if not -1 <= parent < len(skeleton.names):
            raise BadInputError(path, f"parent {parent}", _A_PARENT)
    num_roots = skeleton.parents.count(-1)
    if num_roots != 1:
        raise BadInputError(path, f"{num_roots} roots (parent -1)", "one root")
    cut_off = set(range(len(skeleton.names))) - set(skeleton.root_first())
    if cut_off:
        cycle = ", ".join(skeleton.names[joint] for joint in sorted(cut_off))
        raise BadInputError(path, f"a cycle in the parents of {cycle}", "a tree under the root")


def write_skeleton(path: str | Path, skeleton: Skeleton) -> None:
    """Writes a skeleton in the layout that `read_skeleton` reads."""
    rows = [
        f"{name} {joint} {parent}\n"
        for joint, (name, parent) in enumerate(zip(*skeleton, strict=True))
    ]
    Path(path).write_text("".join(["# joint_name joint_id joint_parent_id\n", *rows]))


def _read_rest_pose(folder: Path, skeleton: Skeleton) -> np.ndarray:
    """Returns local_pose.txt's transforms; the two global files must agree with them."""
    local = _read_transforms(folder / "local_pose.txt", skeleton)
    stored = _read_transforms(folder / "global_pose.txt", skeleton)
    inverse = _read_transforms(folder / "global_pose_inv.txt", skeleton)
    expected = _compose(local, skeleton)
    for name, found, wanted in zip(skeleton.names, stored, expected, strict=True):
        _check_close(folder / "global_pose.txt", name, found, wanted, "local_pose.txt's product")
    for name, found, wanted in zip(skeleton.names, inverse, np.linalg.inv(stored), strict=True):
        _check_close(folder / "global_pose_inv.txt", name, found, wanted, "global_pose's inverse")
    return local


def _read_transforms(path: Path, skeleton: Skeleton) -> np.ndarray:
    """Reads `joint_name` and 16 numbers a line: a rigid transform for every joint."""
    transforms = np.zeros((len(skeleton.names), 4, 4))
    seen: set[int] = set()
    for line in read_lines(path):
        joint = skeleton.index(line, line.tokens[0])
        if joint in seen:
            raise line.refusal(f"joint {line.tokens[0]} a second time", "each joint once")
        seen.add(joint)
        T = np.array(line.floats(1, 16, f"{line.tokens[0]}'s 4x4 matrix")).reshape(4, 4)
        _check_rigid(T, line)
        transforms[joint] = T
    for joint, name in enumerate(skeleton.names):
        if joint not in seen:
            raise BadInputError(path, f"no line for joint {name}", "every joint of skeleton.txt")
    return transforms


def _check_unit(
    path: Path, vertices: np.ndarray, T_parent_joint: np.ndarray, skeleton: Skeleton
) -> None:
    joints = _compose(T_parent_joint, skeleton)[:, :3, 3]
    mesh, rig = (np.linalg.norm(np.ptp(points, axis=0)) for points in (vertices, joints))
    low, high = _MESH_OVER_JOINTS
    if not low * rig <= mesh <= high * rig:
        found = f"a mesh of {mesh:.3g} mm over joints of {rig:.3g} mm"
        raise BadInputError(path, found, "a mesh in cm and local_pose.txt in mm, of one hand")


def _check_rigid(T: np.ndarray, line: Line) -> None:
    line.check_rotation(T[:3, :3], "a 3x3 part")
    if np.abs(T[3] - [0, 0, 0, 1]).max() > 1e-6:
        raise line.refusal(f"last row {T[3].tolist()}", "last row 0 0 0 1")


def _check_close(path: Path, name: str, found: np.ndarray, wanted: np.ndarray, what: str) -> None:
    difference = np.abs(found - wanted)
    rotation, translation = difference[:3, :3].max(), difference[:3, 3].max()
    if rotation > 1e-2 or translation > 1.0:
        raise BadInputError(
            path,
            f"joint {name} off by {translation:.3g} mm and {rotation:.3g} in rotation",
            f"{what} within 1 mm and 1e-2",
        )


def _compose(T_parent_joint: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    T_model_joint = np.zeros_like(T_parent_joint)
    for joint in skeleton.root_first():
        parent = skeleton.parents[joint]
        above = np.eye(4) if parent < 0 else T_model_joint[parent]
        T_model_joint[joint] = above @ T_parent_joint[joint]
    return T_model_joint


def _write_transforms(path: Path, transforms: np.ndarray, skeleton: Skeleton) -> None:
    rows = ["# joint_name 4x4 matrix, row-major\n"]
    for name, T in zip(skeleton.names, transforms, strict=True):
        rows.append(f"{name} " + "".join(f"{value:.9g} " for value in T.ravel()) + "\n")
    path.write_text("".join(rows))


def _read_weights(path: Path, skeleton: Skeleton, num_vertices: int) -> np.ndarray:
    """Reads `vertex_id joint_name weight joint_name weight ...` lines, rows summing to 1."""
    weights = np.zeros((num_vertices, len(skeleton.names)))
    seen = np.zeros(num_vertices, bool)
    for line in read_lines(path):
        vertex = line.int(line.tokens[0], "a vertex id")
        if not 0 <= vertex < num_vertices:
            raise line.refusal(f"vertex {vertex}", f"an id from 0 to {num_vertices - 1}")
        if seen[vertex]:
            raise line.refusal(f"vertex {vertex} a second time", "each vertex once")
        weights[vertex], seen[vertex] = _parse_weights(line, skeleton), True
    if not seen.all():
        found = f"no weights for vertex {np.flatnonzero(~seen)[0]}"
        raise BadInputError(path, found, f"a line for each of hand.obj's {num_vertices} vertices")
    return weights


def _parse_weights(line: Line, skeleton: Skeleton) -> np.ndarray:
    row = np.full(len(skeleton.names), np.nan)
    pairs = line.tokens[1:]
    if not pairs or len(pairs) % 2:
        raise line.refusal(f"{len(pairs)} values after the id", "pairs of joint name and weight")
    for name, token in zip(pairs[::2], pairs[1::2], strict=True):
        joint, weight = skeleton.index(line, name), line.float(token, "a weight")
        if not np.isnan(row[joint]):
            raise line.refusal(f"joint {name} a second time", "each joint once a vertex")
        if weight < 0:
            raise line.refusal(f"weight {token} of joint {name}", "weights >= 0")
        row[joint] = weight
    row = np.nan_to_num(row)
    if abs(row.sum() - 1.0) > _WEIGHT_TOLERANCE:
        raise line.refusal(f"weights that sum to {row.sum():.6g}", "a sum of 1 within 1e-3")
    return row / row.sum()


def _write_weights(path: Path, weights: np.ndarray, skeleton: Skeleton) -> None:
    rows = ["# vertex_id joint_name weight joint_name weight ...\n"]
    for vertex, row in enumerate(weights):
        pairs = (f"{skeleton.names[joint]} {row[joint]:.9g} " for joint in np.flatnonzero(row))
        rows.append(f"{vertex} " + "".join(pairs) + "\n")
    path.write_text("".join(rows))
