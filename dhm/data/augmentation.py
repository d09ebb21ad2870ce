"""Random changes of the input images of a training.

Turns, scales and shifts are those of the camera: a rotation about the ray through the middle of the
crop, another focal length, another principal point. Each is exact in three dimensions: the image is
warped by the homography between the two cameras, so that joints project through the new camera onto
the same content. In the world, in which a batch holds them, the joints and the target views stay;
the losses align the hand to the target first, so that a batch needs no camera of its input images.

All other changes move nothing: colours, blur, compression, occlusion, backgrounds.
"""

import logging
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from dhm.errors import BadInputError
from dhm.files import data_paths
from dhm.formats.picture import read_picture

log = logging.getLogger(__name__)

JPEG_QUALITY = (15, 75)
MAX_BACKGROUNDS = 200
"""Pictures of a folder that are kept in memory, taken evenly from their sorted names."""

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_KEPT = 1.5  # short side of a kept background over the side of a crop
_GRAIN_SIDE = 256  # pixels, range of the places at which grain is cut out
_GRAIN_LEVELS = 40  # standard deviation of the grain
_EDGE_SIGMA = 0.7  # of the soft edge between hand and background, pixels
_SMALLEST_SIGMA = 0.3  # pixels; a weaker blur cannot be seen
_LEVELS = np.arange(256.0)[:, None]
_GREY = np.full((3, 3), 1 / 3)
# Rotations about grey turn the hue: the axis's cross product matrix.
_ABOUT_GREY = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)


class Augmentation(NamedTuple):
    """Limits of the random changes of an input image; zeros change nothing.

    Attributes:
        rotation_deg: Largest rotation to either side, degrees.
        scale: Largest relative change of size.
        shift: Largest shift along each axis, as a share of the side.
        brightness: Largest relative change of brightness.
        contrast: Largest relative change of the distance to the mean grey.
        gamma: Largest relative change of the exponent of a grey level.
        channel_gain: Largest relative change of each channel by itself.
        saturation: Largest relative change of the distance to grey.
        hue_deg: Largest rotation of the colours about grey, degrees.
        blur_px: Largest standard deviation of a Gaussian blur, pixels of the crop.
        motion_px: Longest streak of a motion blur, pixels of the crop.
        jpeg: Share of the images that are compressed as JPEG of quality 15 to 75.
        occlusion: Largest side of a patch over the image, as a share of the side.
        background: Share of the images with a mask that get another background.
        backgrounds: Folder of pictures for backgrounds and patches; "" draws random ones.
    """

    rotation_deg: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    channel_gain: float = 0.0
    saturation: float = 0.0
    hue_deg: float = 0.0
    blur_px: float = 0.0
    motion_px: float = 0.0
    jpeg: float = 0.0
    occlusion: float = 0.0
    background: float = 0.0
    backgrounds: str = ""

    @property
    def changes_anything(self) -> bool:
        """Whether any limit is above zero."""
        return any(self._replace(backgrounds=""))


class InputView(NamedTuple):
    """An input image with its camera.

    Attributes:
        image: RGB.
        mask: The foreground; None where it is not known.
        K: Intrinsics of the crop.
        T_camera_world: World to camera, mm.
    """

    image: UInt8[np.ndarray, "h w 3"]
    mask: Bool[np.ndarray, "h w"] | None
    K: Float[np.ndarray, "3 3"]
    T_camera_world: Float[np.ndarray, "4 4"]


class Backgrounds:
    """Draws square backgrounds from a folder of pictures, or random ones.

    Args:
        size: Side of a background, pixels.
        folder: Folder of pictures, which are read once, here; "" for random backgrounds.

    Raises:
        BadInputError: The folder has no picture, or a damaged one.
    """

    def __init__(self, size: int, folder: str | Path = ""):
        self._size = size
        self._pictures = _read_folder(Path(folder), round(_KEPT * size)) if folder else []

    def draw(self, rng: np.random.Generator) -> UInt8[np.ndarray, "s s 3"]:
        """Returns a piece of a picture, of random place and size and flipped at random."""
        if not self._pictures:
            return random_background(self._size, rng)
        picture = self._pictures[rng.integers(len(self._pictures))]
        short = min(picture.shape[:2])
        side = int(rng.integers(round(short / _KEPT), short, endpoint=True))
        row = int(rng.integers(picture.shape[0] - side, endpoint=True))
        column = int(rng.integers(picture.shape[1] - side, endpoint=True))
        piece = picture[row : row + side, column : column + side]
        piece = cv2.resize(piece, (self._size, self._size), interpolation=cv2.INTER_AREA)
        return piece[:, ::-1] if rng.random() < 0.5 else piece


def augment(
    view: InputView, limits: Augmentation, rng: np.random.Generator, backgrounds: Backgrounds
) -> InputView:
    """Changes an image at random, and its camera with it.

    Args:
        view: The image.
        limits: How far it may change.
        rng: Source of all random draws.
        backgrounds: Source of backgrounds, and of patches in front of the hand.
    """
    if not limits.changes_anything:
        return view
    angle, size, dx, dy, light = rng.uniform(-1.0, 1.0, 5)
    if limits.rotation_deg or limits.scale or limits.shift:
        turn, zoom = np.radians(angle * limits.rotation_deg), 1.0 + size * limits.scale
        view = move_camera(view, turn, zoom, (dx * limits.shift, dy * limits.shift))
    image = view.image
    if view.mask is not None and rng.random() < limits.background:
        image = replace_background(image, view.mask, backgrounds.draw(rng))
    if limits.occlusion:
        image = occlude(image, limits.occlusion, rng, backgrounds)
    image = change_colours(image, light, limits, rng)
    image = blur(image, limits.blur_px, limits.motion_px, rng)
    if rng.random() < limits.jpeg:
        image = recompress(image, rng)
    return view._replace(image=image)


def move_camera(view: InputView, turn: float, zoom: float, shift: tuple[float, float]) -> InputView:
    """Rotates, scales and shifts an image by moving its camera; border pixels are repeated.

    With K' = A K and x_camera' = R x_camera a pixel u goes to A K R K^-1 u, whatever its depth. The
    rotation is that of the hand; rotating the pixels, which the crop stretched, would shear it.

    Args:
        view: The image.
        turn: Angle about the ray through the middle, radians, counter-clockwise as seen.
        zoom: Factor of the size, about the middle.
        shift: Shift to the right and down, as shares of the sides.
    """
    height, width = view.image.shape[:2]
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    A = np.diag([zoom, zoom, 1.0])
    A[:2, 2] = (1 - zoom) * middle + np.array(shift) * (width, height)
    K = view.K.astype(np.float64)
    ray = np.linalg.solve(K, [*middle, 1.0])
    # Counter-clockwise with y down is the negative sense about the ray.
    R = cv2.Rodrigues(-turn * ray / np.linalg.norm(ray))[0]
    H = A @ K @ R @ np.linalg.inv(K)
    T = view.T_camera_world.astype(np.float64)
    T[:3] = R @ T[:3]
    size = (width, height)
    mask = view.mask
    if mask is not None:  # outside the image is background
        mask = cv2.warpPerspective(mask.astype(np.uint8) * 255, H, size) >= 128
    return InputView(
        image=cv2.warpPerspective(view.image, H, size, borderMode=cv2.BORDER_REPLICATE),
        mask=mask,
        K=(A @ K).astype(np.float32),
        T_camera_world=T.astype(np.float32),
    )


def change_colours(
    image: UInt8[np.ndarray, "h w 3"],
    light: float,
    limits: Augmentation,
    rng: np.random.Generator,
) -> UInt8[np.ndarray, "h w 3"]:
    """Changes brightness, contrast, gamma, each channel, saturation and hue.

    Args:
        image: RGB.
        light: Change of brightness, as a share of its limit.
        limits: Limits of all changes.
        rng: Source of the other changes.
    """
    contrast, gamma, saturation, hue, *gains = rng.uniform(-1.0, 1.0, 7)
    if limits.brightness or limits.contrast or limits.gamma or limits.channel_gain:
        grey = np.mean(cv2.mean(image)[:3]) if limits.contrast else 0.0
        levels = 255 * (_LEVELS / 255) ** ((1.0 + limits.gamma) ** gamma)
        levels = grey + (levels - grey) * (1.0 + contrast * limits.contrast)
        levels = levels * (1.0 + light * limits.brightness)
        levels = levels * (1.0 + np.array(gains) * limits.channel_gain)
        image = cv2.LUT(image, np.clip(np.rint(levels), 0, 255).astype(np.uint8)[None])
    if limits.saturation or limits.hue_deg:
        angle = np.radians(hue * limits.hue_deg)
        image = cv2.transform(image, colour_matrix(angle, 1.0 + saturation * limits.saturation))
    return image


def colour_matrix(hue: float, saturation: float) -> Float[np.ndarray, "3 3"]:
    """Returns a matrix that rotates colours about grey and scales their distance to it.

    Args:
        hue: Angle, radians; a third of a full turn makes red green.
        saturation: Factor of the distance to grey.
    """
    around = np.eye(3) - _GREY
    return _GREY + saturation * (np.cos(hue) * around + np.sin(hue) * _ABOUT_GREY)


def blur(
    image: UInt8[np.ndarray, "h w 3"], blur_px: float, motion_px: float, rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """Blurs by a random Gaussian and a random straight motion, each up to its limit."""
    if blur_px and (sigma := rng.uniform(0, blur_px)) > _SMALLEST_SIGMA:
        image = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    if motion_px and (length := rng.uniform(0, motion_px)) > 1:
        kernel = motion_blur_kernel(length, rng.uniform(0, np.pi))
        image = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    return image


def motion_blur_kernel(length: float, angle: float) -> Float[np.ndarray, "n n"]:
    """Returns the kernel of a motion blur: a line through the middle, of sum 1.

    Args:
        length: Length of the motion, pixels.
        angle: Its direction, radians from the x axis.
    """
    half = int(np.ceil(length / 2))
    steps = np.linspace(-length / 2, length / 2, 8 * half + 1)
    columns, rows = half + steps * np.cos(angle), half + steps * np.sin(angle)
    c, r = np.floor(columns).astype(int), np.floor(rows).astype(int)
    kernel = np.zeros((2 * half + 2, 2 * half + 2))  # room for the right neighbours
    for dc, dr in ((0, 0), (1, 0), (0, 1), (1, 1)):
        weight = (1 - np.abs(columns - c - dc)) * (1 - np.abs(rows - r - dr))
        np.add.at(kernel, (r + dr, c + dc), weight)
    kernel = kernel[:-1, :-1]
    return kernel / kernel.sum()


def recompress(
    image: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """Compresses and decompresses an image as a JPEG of random low quality."""
    quality = int(rng.integers(*JPEG_QUALITY, endpoint=True))
    packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(packed, cv2.IMREAD_COLOR)


def occlude(
    image: UInt8[np.ndarray, "h w 3"],
    largest: float,
    rng: np.random.Generator,
    backgrounds: Backgrounds,
) -> UInt8[np.ndarray, "h w 3"]:
    """Covers a random rotated rectangle or ellipse of an image.

    Args:
        image: RGB.
        largest: Largest side of the patch, as a share of the image's.
        rng: Source of shape, place and content.
        backgrounds: Source of the content.
    """
    height, width = image.shape[:2]
    centre = rng.uniform(0, 1, 2) * (width, height)
    sides = rng.uniform(0, largest, 2) * (width, height)
    box = (tuple(centre), tuple(sides), rng.uniform(0, 180))
    patch = np.zeros((height, width), np.uint8)
    if rng.random() < 0.5:
        cv2.fillConvexPoly(patch, np.rint(cv2.boxPoints(box)).astype(np.int32), 255)
    else:
        cv2.ellipse(patch, box, 255, -1)
    covered = image.copy()
    cv2.copyTo(np.ascontiguousarray(backgrounds.draw(rng)), patch, covered)
    return covered


def random_background(size: int, rng: np.random.Generator) -> UInt8[np.ndarray, "s s 3"]:
    """Draws a background: clouds of two colours, a few shapes with sharp edges, and grain.

    Args:
        size: Side, pixels.
        rng: Source of all of it.
    """
    coarse = int(rng.integers(2, 9))
    weights = rng.integers(0, 256, (coarse, coarse), np.uint8)
    weights = cv2.resize(weights, (size, size), interpolation=cv2.INTER_CUBIC)
    one, other = rng.uniform(0, 255, (2, 3))
    colours = one + np.linspace(0, 1, 256)[:, None] * (other - one)
    picture = cv2.LUT(cv2.merge([weights] * 3), colours[None].astype(np.uint8))
    for _ in range(int(rng.integers(0, 6))):
        corners = np.rint(rng.uniform(-0.3, 1.3, 2) * size + rng.normal(0, 0.3 * size, (4, 2)))
        hull = cv2.convexHull(corners.astype(np.int32))
        cv2.fillConvexPoly(picture, hull, rng.uniform(0, 255, 3).tolist(), cv2.LINE_AA)
    row, column = rng.integers(0, _GRAIN_SIDE, 2)
    grain = _grain(size)[row : row + size, column : column + size]
    share = rng.uniform(0, 12 / _GRAIN_LEVELS)
    # Grey 128 stands for no grain; the sum is clipped to 0..255.
    return cv2.addWeighted(picture, 1.0, grain, share, -128 * share)


@lru_cache(maxsize=2)
def _grain(size: int) -> UInt8[np.ndarray, "h w 3"]:
    """Grey noise to cut pieces of `size` from; new noise would take a millisecond an image."""
    noise = np.random.default_rng(0).normal(128, _GRAIN_LEVELS, (size + _GRAIN_SIDE,) * 2)
    return cv2.merge([np.clip(np.rint(noise), 0, 255).astype(np.uint8)] * 3)


def replace_background(
    image: UInt8[np.ndarray, "h w 3"],
    mask: Bool[np.ndarray, "h w"],
    background: UInt8[np.ndarray, "h w 3"],
) -> UInt8[np.ndarray, "h w 3"]:
    """Replaces the background outside a mask; the edge is about a pixel wide."""
    keep = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), _EDGE_SIGMA)
    return cv2.blendLinear(image, np.ascontiguousarray(background), keep, 1.0 - keep)


def _read_folder(folder: Path, short: int) -> list[UInt8[np.ndarray, "h w 3"]]:
    paths = [p for p in data_paths(folder, "**/*") if p.suffix.lower() in _SUFFIXES]
    if not paths:
        raise BadInputError(
            folder, "no picture", f"pictures for backgrounds ({', '.join(_SUFFIXES)})"
        )
    if len(paths) > MAX_BACKGROUNDS:
        log.info("of the %d backgrounds in %s every %.1fth is used", len(paths), folder,
                 len(paths) / MAX_BACKGROUNDS)  # fmt: skip
        chosen = np.linspace(0, len(paths) - 1, MAX_BACKGROUNDS).round().astype(int)
        paths = [paths[i] for i in chosen]
    pictures, refused = [], []
    for path in paths:
        try:
            pictures.append(_shrink(read_picture(path), short))
        except BadInputError as error:
            refused.append(str(error))
    if len(refused) > len(pictures):
        found = f"{len(refused)} of {len(paths)} pictures that cannot be read (first: {refused[0]})"
        raise BadInputError(folder, found, "at most half of the backgrounds")
    if refused:
        log.warning("%d of %d backgrounds in %s cannot be read and are left out, first: %s",
                    len(refused), len(paths), folder, refused[0])  # fmt: skip
    return pictures


def _shrink(picture: UInt8[np.ndarray, "h w 3"], short: int) -> UInt8[np.ndarray, "h w 3"]:
    """Scales a picture down to a short side of at most `short` pixels."""
    factor = short / min(picture.shape[:2])
    if factor >= 1:
        return picture
    height, width = (max(short, round(factor * side)) for side in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
