"""Pinhole cameras: world to camera to pixels."""

from jaxtyping import Array, Float

from dhm.geometry.transforms import einsum, transform_points


def world_to_camera(
    points: Float[Array, "*#b n 3"], T_camera_world: Float[Array, "*#b 4 4"]
) -> Float[Array, "*b n 3"]:
    """Transforms world points (mm) to the camera's frame, +z away from the camera."""
    return transform_points(T_camera_world, points)


def project_points(
    points_camera: Float[Array, "*#b n 3"], K: Float[Array, "*#b 3 3"]
) -> Float[Array, "*b n 2"]:
    """Projects points to pixel coordinates (column, row); the centre of the first pixel is (0, 0).

    A point in the camera's own plane (z = 0) projects to infinity; callers that may have such
    points test z first.
    """
    homogeneous = einsum("...ij,...nj->...ni", K, points_camera)
    return homogeneous[..., :2] / homogeneous[..., 2:]
