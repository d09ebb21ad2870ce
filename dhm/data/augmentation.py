"""Random changes of the input pictures of a training.

What moves is the camera: a turn about the ray through the middle of the crop, another focal
length, another principal point. Each is exact in three dimensions: the picture is warped by the
homography between the two cameras, and a joint projects through the new one onto the same content.
The joints in the new camera's frame are turned by R; in the world, in which a batch holds them,
they stay, and so do the target views. The losses align the hand to the target first, so that a
batch needs no camera of its input pictures.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from dhm.data.appearance import blurred, occluded, packed_again, recoloured
from dhm.data.backgrounds import Backgrounds, replaced


class Augmentation(NamedTuple):
    """How far an input picture may change; all zeros leave it as it is.

    Attributes:
        rotation_deg: Largest turn to either side, degrees.
        scale: Largest relative change of size.
        shift: Largest shift along each axis, as a share of the side.
        brightness: Largest relative change of brightness.
        contrast: Largest relative change of the distance to the mean grey.
        gamma: Largest relative change of the exponent of a grey level.
        channel_gain: Largest relative change of each colour by itself.
        saturation: Largest relative change of the distance to grey.
        hue_deg: Largest turn of the colours about grey, degrees.
        blur_px: Largest standard deviation of a Gaussian blur, pixels of the crop.
        motion_px: Longest streak of a motion blur, pixels of the crop.
        jpeg: Share of pictures that are packed as JPEG of quality 15 to 75.
        occlusion: Largest side of a patch over the picture, as a share of the side.
        background: Share of the pictures with a mask that get another background.
        backgrounds: Folder of pictures to take backgrounds and patches from; "" makes some up.
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
    """An input picture with its camera.

    Attributes:
        image: RGB.
        mask: What is not background; None where that is not known.
        K: Intrinsics of the crop.
        T_camera_world: World to camera, mm.
    """

    image: UInt8[np.ndarray, "h w 3"]
    mask: Bool[np.ndarray, "h w"] | None
    K: Float[np.ndarray, "3 3"]
    T_camera_world: Float[np.ndarray, "4 4"]


def augment(
    view: InputView, limits: Augmentation, rng: np.random.Generator, backgrounds: Backgrounds
) -> InputView:
    """Changes a picture, and its camera with it.

    Args:
        view: The picture.
        limits: How far it may change.
        rng: Draws how far it does.
        backgrounds: What comes behind the hand, and before it.
    """
    if not limits.changes_anything:
        return view
    angle, size, dx, dy, light = rng.uniform(-1.0, 1.0, 5)
    if limits.rotation_deg or limits.scale or limits.shift:
        turn, zoom = np.radians(angle * limits.rotation_deg), 1.0 + size * limits.scale
        view = moved(view, turn, zoom, (dx * limits.shift, dy * limits.shift))
    image = view.image
    if view.mask is not None and rng.random() < limits.background:
        image = replaced(image, view.mask, backgrounds.draw(rng))
    if limits.occlusion:
        image = occluded(image, limits.occlusion, rng, backgrounds)
    image = recoloured(image, light, limits, rng)
    image = blurred(image, limits.blur_px, limits.motion_px, rng)
    if rng.random() < limits.jpeg:
        image = packed_again(image, rng)
    return view._replace(image=image)


def moved(view: InputView, turn: float, zoom: float, shift: tuple[float, float]) -> InputView:
    """Turns, scales and shifts a picture; what comes in from outside repeats the border's pixels.

    With K' = A K and x_camera' = R x_camera a pixel u goes to A K R K^-1 u, whatever its depth. The
    turn is one of the hand and not of the pixels, which the crop has stretched.

    Args:
        view: The picture.
        turn: Angle about the ray through the middle, radians, counter-clockwise as seen.
        zoom: Factor of the size, about the middle.
        shift: To the right and down, as shares of the sides.
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
    if mask is not None:  # Outside of the picture all is background.
        mask = cv2.warpPerspective(mask.astype(np.uint8) * 255, H, size) >= 128
    return InputView(
        image=cv2.warpPerspective(view.image, H, size, borderMode=cv2.BORDER_REPLICATE),
        mask=mask,
        K=(A @ K).astype(np.float32),
        T_camera_world=T.astype(np.float32),
    )
