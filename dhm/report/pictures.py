"""Pictures of hands for a report: meshes, error maps, scans, and the export's preview."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import imageio.v3 as iio
import numpy as np
from jaxtyping import Float, Int, UInt8

from dhm.data.prepared_data import PreparedData
from dhm.evaluation.aligned_hands import aligned_hands, compile_step, eval_step
from dhm.networks.hand_model import HandModel
from dhm.networks.linear_hand_model import LinearHandModel
from dhm.rendering.shading import SKIN, portrait
from dhm.report.examples import Example, Hand

TILE = 256
"""Side of a picture, pixels."""

_SCAN = (0.62, 0.68, 0.74)
_UNMEASURED = (0.22, 0.22, 0.22)
_BACKGROUND = 55  # largest channel of a pixel without a hand
# Linear RGB from no error to the end of the scale; in greyscale, too, each is darker than the last.
_HEAT = np.array(
    [(0.80, 0.86, 0.90), (0.95, 0.80, 0.30), (0.95, 0.38, 0.08), (0.70, 0.05, 0.12),
     (0.28, 0.02, 0.25)]
)  # fmt: skip
_GAMMA = 1.4  # of dhm.rendering.shading
_LENGTHS = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)  # of a scale, times a power of ten
_QUALITY = 88
# A large hand with its wrist, with hardly any perspective.
_UPRIGHT_MM, _DISTANCE_MM = 230.0, 1500.0
_TURNS_DEG = (90, 180)  # of the preview's meshes


class Picture(NamedTuple):
    """A picture of the page.

    Attributes:
        jpeg: The file's content.
        alt: Description of what it shows.
        label: Caption below it.
    """

    jpeg: bytes
    alt: str
    label: str


def heat_scale(hands: Iterable[Hand]) -> float:
    """Chooses a round length in mm that few of the hands' distances exceed."""
    distances = [hand.distance[hand.is_measured] for hand in hands if hand.distance is not None]
    most = float(np.quantile(np.concatenate(distances), 0.97)) if distances else 1.0
    power = 10.0 ** np.floor(np.log10(max(most, 1e-3)))
    return float(next(power * x for x in _LENGTHS if power * x >= most))


def heat_colours(share: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 3"]:
    """Returns linear RGB of distances as shares of the scale; longer ones have the last colour."""
    anchors = np.linspace(0, 1, len(_HEAT))
    return np.stack([np.interp(share, anchors, channel) for channel in _HEAT.T], axis=1)


def heat_stops(count: int = 9) -> list[str]:
    """Returns CSS colours of the scale at equal distances, as they appear under full light."""
    shown = heat_colours(np.linspace(0, 1, count)) ** (1 / _GAMMA) * 255
    return [f"rgb({r:.0f} {g:.0f} {b:.0f})" for r, g, b in shown]


class Studio:
    """Renders examples from the cameras of their images.

    Args:
        faces: Of the model's meshes.
        examples: All that will be drawn; their scans are padded to one size, so that the renderer
            is compiled once.
        scale: Length of the error maps' scale, mm.
    """

    def __init__(self, faces: Int[np.ndarray, "f 3"], examples: list[Example], scale: float):
        self._faces, self._scale = faces, scale
        scans = [example.scan for example in examples if example.scan is not None]
        self._scan_vertices = max((len(vertices) for vertices, _ in scans), default=0)
        self._scan_faces = max((len(faces) for _, faces in scans), default=0)

    def example(self, example: Example) -> list[Picture]:
        """Image, scan, mesh, and error maps with the encoder's and with fitted angles."""
        name = example.name
        pictures = [_picture(_enlarge(example.image), f"Input image: {name}", "Input image")]
        pictures += self.scan(example)
        picture = self._mesh(example, example.hand)
        pictures.append(_picture(picture, f"The predicted mesh of {name}", "Predicted mesh"))
        for hand, whose in ((example.hand, ""), (example.fitted, ", fitted angles")):
            if hand.M_err is not None:
                alt = f"Distance to the scan{whose}, {hand.M_err:.2f} mm in the mean: {name}"
                label = f"Error {hand.M_err:.2f} mm{whose}"
                pictures.append(_picture(self._heat(example, hand), alt, label))
        return pictures

    def steps(self, example: Example, hands: dict[str, Hand]) -> list[Picture]:
        """Meshes by name, each above its error map, and the scan."""
        pictures = [self.measured(example, hand, label) for label, hand in hands.items()]
        return pictures + self.scan(example)

    def measured(self, example: Example, hand: Hand, label: str) -> Picture:
        """A mesh above its error map."""
        mesh = self._mesh(example, hand)
        if hand.M_err is not None:
            mesh = np.concatenate([mesh, self._heat(example, hand)])
            label = f"{label}: {hand.M_err:.2f} mm"
        return _picture(mesh, f"{label}, {example.name}", label)

    def scan(self, example: Example) -> list[Picture]:
        """The frame's scan, if it has one."""
        if example.scan is None:
            return []
        return [_picture(self._scan(example), f"The scan of {example.name}", "Scan")]

    def worst(self, example: Example) -> list[Picture]:
        """Image, the mesh overlaid on it, and the scan."""
        name = example.name
        image, mesh = _enlarge(example.image), self._mesh(example, example.hand)
        seen = mesh.astype(int).max(axis=-1, keepdims=True) > _BACKGROUND
        over = np.where(seen, (0.35 * image + 0.65 * mesh).astype(np.uint8), image)
        pictures = [
            _picture(image, f"Input image: {name}", "Input image"),
            _picture(over, f"The predicted mesh over the image of {name}", "Mesh over image"),
        ]
        return pictures + self.scan(example)

    def _mesh(self, example: Example, hand: Hand) -> UInt8[np.ndarray, "t t 3"]:
        return _render_example(hand.vertices, self._faces, SKIN, example)

    def _heat(self, example: Example, hand: Hand) -> UInt8[np.ndarray, "t t 3"]:
        colours = heat_colours(hand.distance / self._scale)
        colours[~hand.is_measured] = _UNMEASURED
        return _render_example(hand.vertices, self._faces, colours, example)

    def _scan(self, example: Example) -> UInt8[np.ndarray, "t t 3"]:
        vertices, faces = example.scan
        # Padding: faces without area are not drawn.
        more = self._scan_vertices - len(vertices), self._scan_faces - len(faces)
        vertices = np.concatenate([vertices, np.repeat(vertices[:1], more[0], axis=0)])
        faces = np.concatenate([faces, np.zeros((more[1], 3), faces.dtype)])
        return _render_example(vertices, faces, _SCAN, example)


def upright_hand(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], label: str
) -> Picture:
    """Renders a hand from its back and from its palm, at a fixed scale.

    Args:
        vertices: From `dhm.report.viewer.upright`, mm.
        faces: Of the mesh.
        label: Caption below it.
    """
    focal = 0.95 * TILE * _DISTANCE_MM / _UPRIGHT_MM
    centre = (TILE - 1) / 2
    K = np.array([[focal, 0, centre], [0, focal, centre], [0, 0, 1]])
    sides = []
    for sign in (1, -1):
        T_camera_world = np.diag([sign, -1.0, -sign, 1])
        T_camera_world[2, 3] = _DISTANCE_MM
        sides.append(_render(vertices, faces, SKIN, K, T_camera_world))
    return _picture(np.concatenate(sides), f"{label}, back and palm", label)


def write_preview(
    path: Path,
    model: HandModel | LinearHandModel,
    variables: dict[str, Any],
    data: PreparedData,
    records: Sequence[int],
) -> None:
    """Writes the export's contact sheet, a PNG with one row a record; without records no file.

    A row shows the input image, the output mesh from the same camera, and the mesh turned by 90
    and 180 degrees. The mesh is aligned to the target joints.

    Args:
        path: The file to write.
        model: The hand model, or a linear one.
        variables: Its variables.
        data: A prepared folder.
        records: Records of its evaluation split.
    """
    rows = []
    decode = compile_step(eval_step, model, variables)
    for decoded in aligned_hands(decode, data, records, joint_mask=model.joint_mask):
        for row, fields in enumerate(decoded.fields):
            image, vertices = decoded.batch.image[row], decoded.hands.vertices[row]
            T_camera_world, faces = fields.T_camera_world, model.template.faces
            K = _enlarged_K(fields.K, TILE / len(image))
            tiles = [_enlarge(image), _render(vertices, faces, SKIN, K, T_camera_world)]
            for degrees in _TURNS_DEG:
                turned = _turn(vertices, T_camera_world, np.radians(degrees))
                K_turned = _framing_K(turned, T_camera_world)
                tiles.append(_render(turned, faces, SKIN, K_turned, T_camera_world))
            rows.append(np.concatenate(tiles, axis=1))
    if rows:
        iio.imwrite(path, np.concatenate(rows))


def _turn(
    vertices: Float[np.ndarray, "v 3"], T_camera_world: Float[np.ndarray, "4 4"], angle: float
) -> Float[np.ndarray, "v 3"]:
    """Turns a mesh about its centre and the camera's vertical axis."""
    axis, centre = T_camera_world[1, :3], vertices.mean(axis=0)
    offset = vertices - centre
    along = np.outer(offset @ axis, axis)
    across = np.cross(axis, offset)
    return centre + along + np.cos(angle) * (offset - along) + np.sin(angle) * across


def _framing_K(
    vertices: Float[np.ndarray, "v 3"], T_camera_world: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, "3 3"]:
    """Intrinsics of a picture of a whole mesh with a margin."""
    v_camera = vertices @ T_camera_world[:3, :3].T + T_camera_world[:3, 3]
    rays = v_camera[:, :2] / v_camera[:, 2:]
    low, high = rays.min(axis=0), rays.max(axis=0)
    focal = 0.9 * TILE / (high - low).max()
    cx, cy = (TILE - 1) / 2 - focal * (low + high) / 2
    return np.array([[focal, 0, cx], [0, focal, cy], [0, 0, 1]])


def _render_example(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    colour: Float[np.ndarray, "v 3"] | tuple[float, float, float],
    example: Example,
) -> UInt8[np.ndarray, "t t 3"]:
    """Renders a shaded mesh from the camera of an example's image."""
    K = _enlarged_K(example.fields.K, TILE / len(example.image))
    return _render(vertices, faces, colour, K, example.fields.T_camera_world)


def _render(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    colour: Float[np.ndarray, "v 3"] | tuple[float, float, float],
    K: Float[np.ndarray, "3 3"],
    T: Float[np.ndarray, "4 4"],
) -> UInt8[np.ndarray, "t t 3"]:
    """Renders a shaded mesh, with a colour for each vertex or one for all (linear RGB)."""
    return portrait(vertices @ T[:3, :3].T + T[:3, 3], faces, colour, K, TILE)[0]


def _enlarged_K(K: Float[np.ndarray, "3 3"], scale: float) -> Float[np.ndarray, "3 3"]:
    """Intrinsics of the image that `_enlarge` returns: every pixel becomes a block of pixels."""
    shift = (scale - 1) / 2
    return np.array([[scale, 0, shift], [0, scale, shift], [0, 0, 1]]) @ K


def _enlarge(image: UInt8[np.ndarray, "s s 3"]) -> UInt8[np.ndarray, "t t 3"]:
    index = np.arange(TILE) * len(image) // TILE
    return image[index][:, index]


def _picture(pixels: UInt8[np.ndarray, "h w 3"], alt: str, label: str) -> Picture:
    return Picture(as_jpeg(pixels), alt, label)


def as_jpeg(pixels: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """Encodes pixels as a JPEG file."""
    file = io.BytesIO()
    iio.imwrite(file, pixels, extension=".jpg", quality=_QUALITY)
    return file.getvalue()
