"""Pictures of a trained model on images of its evaluation split, beside scans, with error maps."""

import io
from collections.abc import Iterable
from typing import Any, NamedTuple

import imageio.v3 as iio
import jax
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from dhm.data.prepared_data import PreparedData
from dhm.data.schema import HandRecord, Scan
from dhm.evaluation.evaluate import batch_of, eval_step, fitted_step
from dhm.evaluation.metrics import joint_errors, scan_distance
from dhm.networks.hand_model import HandModel, mask_joints
from dhm.networks.linear_hand_model import LinearHandModel
from dhm.rendering.shading import SKIN, portrait
from dhm.types import Batch, HandOutput

TILE = 256
"""Side of a picture, pixels."""

_SCAN = (0.62, 0.68, 0.74)
_UNMEASURED = (0.22, 0.22, 0.22)
# Linear RGB from no error to the scale's end: also in grey, each darker than the one before.
_HEAT = np.array(
    [(0.80, 0.86, 0.90), (0.95, 0.80, 0.30), (0.95, 0.38, 0.08), (0.70, 0.05, 0.12),
     (0.28, 0.02, 0.25)]
)  # fmt: skip
_GAMMA = 1.4  # of dhm.rendering.shading
_LENGTHS = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)  # of a scale, by powers of ten
_QUALITY = 88


class Hand(NamedTuple):
    """A mesh that stands in the world where it fits the target joints best.

    Attributes:
        vertices: World mm.
        P_err: mm.
        M_err: mm; None where the frame has no scan.
        distance: From each vertex to the scan, mm; None where the frame has no scan.
        is_measured: False beyond the scan's cut, where the distance says nothing.
    """

    vertices: Float[np.ndarray, "v 3"]
    P_err: float
    M_err: float | None
    distance: Float[np.ndarray, " v"] | None
    is_measured: Bool[np.ndarray, " v"] | None


class Example(NamedTuple):
    """What the model makes of one image.

    Attributes:
        record: Its index in the evaluation split.
        fields: The stored record.
        image: What the model was given.
        scan: Of the frame, world mm; None where it has none.
        hand: With the encoder's angles.
        fitted: With angles fitted to the true joints.
    """

    record: int
    fields: HandRecord
    image: UInt8[np.ndarray, "s s 3"]
    scan: Scan | None
    hand: Hand
    fitted: Hand

    @property
    def name(self) -> str:
        """Sequence, frame and camera, for captions."""
        fields = self.fields
        return f"{fields.sequence}, frame {fields.frame}, camera {fields.camera}"


class Picture(NamedTuple):
    """A picture of the page.

    Attributes:
        jpeg: The file's content.
        alt: What it shows, in words.
        label: To stand under it.
    """

    jpeg: bytes
    alt: str
    label: str


def make_examples(
    model: HandModel | LinearHandModel,
    variables: dict[str, Any],
    data: PreparedData,
    records: list[int],
) -> list[Example]:
    """Runs the model on records of the evaluation split.

    Args:
        model: The hand model, or a linear one.
        variables: Its variables.
        data: A prepared folder.
        records: Indices; those whose joints do not fix an alignment are left out.

    Raises:
        BadInputError: If a record or a scan is damaged.
    """
    if not records:
        return []
    split = data.info.evaluation_split
    fields = [data.record(split, record) for record in records]
    images = [
        data.decode_image(split, record, field)
        for record, field in zip(records, fields, strict=True)
    ]
    batch = mask_joints(model, batch_of(records, fields, images))
    encoded, fitted = (
        jax.device_get(jax.jit(lambda v, b, step=step: step(model, v, b)[1:])(variables, batch))
        for step in (eval_step, fitted_step)
    )
    faces, examples = model.template.faces, []
    for row, record in enumerate(records):
        if encoded[1][row]:
            scan = data.scan(split, record)
            hands = (
                measured_hand(output, batch, row, faces, scan) for output, _ in (encoded, fitted)
            )
            examples.append(Example(record, fields[row], images[row], scan, *hands))
    return examples


def measured_hand(
    output: HandOutput,
    batch: Batch,
    row: int,
    faces: Int[np.ndarray, "f 3"],
    scan: Scan | None,
) -> Hand:
    """One hand of a batch with its errors."""
    vertices = output.vertices[row]
    P_err = float(joint_errors(output.joints, batch.joints, batch.joint_valid)[row])
    if scan is None:
        return Hand(vertices, P_err, None, None, None)
    to_scan = scan_distance(vertices, *scan)
    is_measured = ~to_scan.beyond_cut
    M_err = to_scan.mean() if is_measured.any() else None
    return Hand(vertices, P_err, M_err, to_scan.distance, is_measured)


def heat_scale(hands: Iterable[Hand]) -> float:
    """A round length in mm that few of the hands' distances exceed."""
    distances = [hand.distance[hand.is_measured] for hand in hands if hand.distance is not None]
    most = float(np.quantile(np.concatenate(distances), 0.97)) if distances else 1.0
    power = 10.0 ** np.floor(np.log10(max(most, 1e-3)))
    return float(next(power * x for x in _LENGTHS if power * x >= most))


def heat_colours(share: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 3"]:
    """Linear RGB of distances as shares of the scale; what is longer has the last colour."""
    anchors = np.linspace(0, 1, len(_HEAT))
    return np.stack([np.interp(share, anchors, channel) for channel in _HEAT.T], axis=1)


def heat_stops(count: int = 9) -> list[str]:
    """CSS colours of the scale at equal distances, as they look under full light."""
    shown = heat_colours(np.linspace(0, 1, count)) ** (1 / _GAMMA) * 255
    return [f"rgb({r:.0f} {g:.0f} {b:.0f})" for r, g, b in shown]


class Studio:
    """Draws examples from the cameras of their images.

    Args:
        faces: Of the model's meshes.
        examples: All that will be drawn; their scans are filled up to one size, for one program.
        scale: Length of the heat map's scale, mm.
    """

    def __init__(self, faces: Int[np.ndarray, "f 3"], examples: list[Example], scale: float):
        self._faces, self._scale = faces, scale
        scans = [example.scan for example in examples if example.scan is not None]
        self._scan_vertices = max((len(vertices) for vertices, _ in scans), default=0)
        self._scan_faces = max((len(faces) for _, faces in scans), default=0)

    def example(self, example: Example) -> list[Picture]:
        """Image, scan, mesh and error maps of both kinds of angles."""
        name = example.name
        pictures = [_picture(_resize(example.image), f"Input image: {name}", "Input image")]
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
        """Meshes by their names, each over its error map, and the scan."""
        pictures = [self.measured(example, hand, label) for label, hand in hands.items()]
        return pictures + self.scan(example)

    def measured(self, example: Example, hand: Hand, label: str) -> Picture:
        """A mesh over its error map."""
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
        """Image, the mesh laid over it, and the scan."""
        name = example.name
        image, mesh = _resize(example.image), self._mesh(example, example.hand)
        seen = mesh.astype(int).max(axis=-1, keepdims=True) > _BACKGROUND
        over = np.where(seen, (0.35 * image + 0.65 * mesh).astype(np.uint8), image)
        pictures = [
            _picture(image, f"Input image: {name}", "Input image"),
            _picture(over, f"The predicted mesh over the image of {name}", "Mesh over image"),
        ]
        return pictures + self.scan(example)

    def _mesh(self, example: Example, hand: Hand) -> UInt8[np.ndarray, "t t 3"]:
        colours = np.broadcast_to(SKIN, hand.vertices.shape)
        return _draw(hand.vertices, self._faces, colours, example)

    def _heat(self, example: Example, hand: Hand) -> UInt8[np.ndarray, "t t 3"]:
        colours = heat_colours(hand.distance / self._scale)
        colours[~hand.is_measured] = _UNMEASURED
        return _draw(hand.vertices, self._faces, colours, example)

    def _scan(self, example: Example) -> UInt8[np.ndarray, "t t 3"]:
        vertices, faces = example.scan
        # Faces of one corner have no area and are not drawn.
        more = self._scan_vertices - len(vertices), self._scan_faces - len(faces)
        vertices = np.concatenate([vertices, np.repeat(vertices[:1], more[0], axis=0)])
        faces = np.concatenate([faces, np.zeros((more[1], 3), faces.dtype)])
        return _draw(vertices, faces, np.broadcast_to(_SCAN, vertices.shape), example)


_BACKGROUND = 55  # brighter is a hand


def _draw(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    colours: Float[np.ndarray, "v 3"],
    example: Example,
) -> UInt8[np.ndarray, "t t 3"]:
    """A shaded mesh from the camera of an example's image."""
    K = _enlarged(example.fields.K, TILE / len(example.image))
    return _draw_from(vertices, faces, colours, K, example.fields.T_camera_world)


def upright_hand(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], label: str
) -> Picture:
    """A hand from its back and from its palm, always at the same scale.

    Args:
        vertices: As `dhm.report.viewer.upright` turns them, mm.
        faces: Of the mesh.
        label: To stand under it.
    """
    focal = 0.95 * TILE * _DISTANCE_MM / _SHOWN_MM
    centre = (TILE - 1) / 2
    K = np.array([[focal, 0, centre], [0, focal, centre], [0, 0, 1]])
    sides = []
    for sign in (1, -1):
        T_camera_world = np.diag([sign, -1.0, -sign, 1])
        T_camera_world[2, 3] = _DISTANCE_MM
        colours = np.broadcast_to(SKIN, vertices.shape)
        sides.append(_draw_from(vertices, faces, colours, K, T_camera_world))
    return _picture(np.concatenate(sides), f"{label}, back and palm", label)


# A large hand with its wrist, seen with hardly any perspective.
_SHOWN_MM, _DISTANCE_MM = 230.0, 1500.0


def _draw_from(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    colours: Float[np.ndarray, "v 3"],
    K: Float[np.ndarray, "3 3"],
    T: Float[np.ndarray, "4 4"],
) -> UInt8[np.ndarray, "t t 3"]:
    return portrait(vertices @ T[:3, :3].T + T[:3, 3], faces, colours, K, TILE)[0]


def _enlarged(K: Float[np.ndarray, "3 3"], scale: float) -> Float[np.ndarray, "3 3"]:
    """Intrinsics of the picture that `_resize` makes: every pixel grows about its area."""
    shift = (scale - 1) / 2
    return np.array([[scale, 0, shift], [0, scale, shift], [0, 0, 1]]) @ K


def _resize(image: UInt8[np.ndarray, "s s 3"]) -> UInt8[np.ndarray, "t t 3"]:
    index = np.arange(TILE) * len(image) // TILE
    return image[index][:, index]


def _picture(pixels: UInt8[np.ndarray, "t t 3"], alt: str, label: str) -> Picture:
    return Picture(as_jpeg(pixels), alt, label)


def as_jpeg(pixels: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """A JPEG file's content."""
    file = io.BytesIO()
    iio.imwrite(file, pixels, extension=".jpg", quality=_QUALITY)
    return file.getvalue()
