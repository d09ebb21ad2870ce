"""Small scenes that are hard on a rasterizer, as triangle soups of one size, and plain meshes."""

import numpy as np

NUM_FACES = 24
IMAGE_SIZE = (24, 32)
K = np.array([[40.0, 0.0, 15.3], [0.0, 42.0, 11.7], [0.0, 0.0, 1.0]], np.float32)
# Integer pixel coordinates at z = 64 without any rounding.
GRID_K = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], np.float32)
FACES = np.arange(3 * NUM_FACES, dtype=np.int32).reshape(-1, 3)

# Fills the image.
BACKDROP = [[-600.0, -300, 400], [600, -300, 420], [0, 900, 380]]


def soup(*triangles):
    """Vertices [72 3] of the triangles, filled up with points far behind the camera."""
    corners = np.full((NUM_FACES, 3, 3), -1000.0)
    corners[: len(triangles)] = np.asarray(triangles, np.float64)
    return corners.reshape(-1, 3).astype(np.float32)


def random_soup(seed, size, distance=100.0, count=NUM_FACES):
    """Triangles of about one size (mm), their centres spread over the image."""
    rng = np.random.default_rng(seed)
    z = distance * rng.uniform(0.5, 2.0, count)
    x, y = rng.uniform(-0.45, 0.45, count) * z, rng.uniform(-0.35, 0.35, count) * z
    centres = np.stack([x, y, z], -1)[:, None]
    return soup(*(centres + rng.normal(size=(count, 3, 3)) * size))


def pixel_grid(z=64.0):
    """3x4 quads of 5 pixels, every corner on a pixel centre (with GRID_K)."""
    triangles = []
    for row in range(2, 17, 5):
        for column in range(3, 23, 5):
            a, b, c, d = (
                [(column + i) * z, (row + j) * z, z] for j, i in ((0, 0), (0, 5), (5, 0), (5, 5))
            )
            triangles += [[a, c, b], [b, c, d]]
    return soup(*triangles)


def nasty_scenes():
    """Name -> (vertices, K)."""
    near_wall = [[-50.0, -50, 80], [50, -50, 90], [0, 70, 85]]
    nan, inf = np.nan, np.inf
    scenes = {
        "covers the screen": soup(BACKDROP, [[-1e5, -1e5, 300], [1e5, -1e5, 310], [0, 1e5, 305]]),
        "behind the camera": soup(BACKDROP, [[-30.0, -30, -50], [30, -30, -50], [0, 30, -50]]),
        "one corner behind": soup(BACKDROP, [[-30.0, 10, -50], [30, 10, 120], [-30, 15, 150]]),
        "two corners behind": soup(BACKDROP, [[-30.0, -9, -50], [30, 10, -120], [3, 5, 150]]),
        "floor under the camera": soup(
            [[-900.0, 20, -500], [900, 20, -500], [0, 20, 900]],
            [[-900.0, 20, 900], [0, 20, 900], [-900, 20, -500]],
        ),
        "corner in the camera's plane": soup(BACKDROP, [[5.0, 5, 0], [30, 10, 120], [-30, 15, 90]]),
        "corner in the eye": soup(BACKDROP, [[0.0, 0, 0], [30, 10, 120], [-30, 15, 90]]),
        "before the near plane": soup(BACKDROP, [[-1.0, -1, 0.5], [1, -1, 0.6], [0, 1, 0.9]]),
        "off screen": soup(*(np.add(near_wall, [dx, 90, 0]) for dx in (-900, -130, 130, 900))),
        "one point": soup(BACKDROP, [[3.0, 4, 50]] * 3),
        "repeated corner": soup(BACKDROP, [[3.0, 4, 50], [3.0, 4, 50], [9, 1, 60]]),
        "collinear": soup(BACKDROP, *collinear_triangles()),
        "thin": soup(BACKDROP, *thin_triangles(-5, -2)),
        "thin, one corner behind": soup(BACKDROP, *thin_triangles(-5, -2, nearest=-90)),
        "seen on edge": soup(BACKDROP, [[0.0, 1, 50], [0, 2, 100], [0, -7, 90]]),
        "duplicates": soup(near_wall, near_wall, BACKDROP, BACKDROP, near_wall),
        "coplanar": soup(
            [[-50.0, -50, 90], [50, -50, 90], [0, 70, 90]],
            [[-20.0, -30, 90], [60, 0, 90], [0, 40, 90]],
        ),
        "not finite": soup(
            [[nan, 0, 50], [9, 1, 60], [3, 9, 50]],
            BACKDROP,
            [[1, nan, 50], [9, 1, 60], [3, 9, 50]],
            [[1, 2, nan], [9, 1, 60], [3, 9, 50]],
            [[inf, 2, 50], [9, 1, 60], [3, 9, 50]],
            [[1, -inf, 50], [9, 1, 60], [3, 9, 50]],
            [[1, 2, inf], [9, 1, 60], [3, 9, 50]],
            [[nan, nan, nan]] * 3,
        ),
        "interpenetrating": soup(
            [[-50.0, -50, 50], [50, -50, 150], [0, 70, 100]],
            [[-50.0, -50, 150], [50, -50, 50], [0, 70, 90]],
        ),
    }
    for size in (0.01, 0.3, 3.0, 20.0, 200.0):
        scenes[f"soup of {size} mm"] = random_soup(int(size * 100), size)
    scenes = {name: (vertices, K) for name, vertices in scenes.items()}
    zoomed = np.array([[9000.0, 0, -870], [0, 9000, 410], [0, 0, 1]], np.float32)
    scenes["zoomed crop"] = random_soup(5, 20.0), zoomed
    scenes["corners on pixel centres"] = pixel_grid(), GRID_K
    return scenes


def collinear_triangles():
    """Three points of a line in space, so rounded that most have a small area left."""
    rng = np.random.default_rng(11)
    a, b = rng.uniform([-60, -60, 60], [60, 60, 180], (2, 20, 3))
    t = rng.uniform(-0.5, 1.5, (20, 1))
    return np.stack([a, b, a + t * (b - a)], axis=1)


def thin_triangles(least, most, nearest=50, middle=50, seed=12):
    """Triangles along diagonals of pixel centres, 10^least to 10^most pixels wide."""
    rng = np.random.default_rng(seed)
    z = rng.uniform([nearest, middle, middle], [nearest + 30, 150, 150], (20, 3))
    row = rng.uniform([-8, 5, 15], [4, 15, 30], (20, 3))
    column = np.arange(8.0, 28)[:, None] - row
    column[:, 1] += 10 ** rng.uniform(least, most, 20)
    pixels = np.stack([column, row, np.ones_like(row)], -1) * z[..., None]
    return pixels @ np.linalg.inv(K.astype(np.float64)).T


def strip_between_diagonals(seed):
    """12 quads side by side; the edges between them run along diagonals of pixel centres.

    They cover every pixel with 4 < column + row < 28 in rows 1 to 22 and leave no gap:
    neighbours share their corners.
    """
    rng = np.random.default_rng(seed)
    row = np.stack([rng.uniform(-3, 1, 13), rng.uniform(22, 26, 13)], -1)
    column = np.linspace(4, 28, 13)[:, None] - row
    pixels = np.stack([column, row, np.ones_like(row)], -1) * rng.uniform(40, 200, (13, 2, 1))
    corners = pixels @ np.linalg.inv(K.astype(np.float64)).T
    left, right = corners[:-1], corners[1:]
    upper = np.stack([left[:, 0], left[:, 1], right[:, 0]], 1)
    lower = np.stack([right[:, 0], left[:, 1], right[:, 1]], 1)
    return soup(*upper, *lower)


def bumpy_sphere(rings, radius=80.0):
    """A closed, not convex mesh of 2 * rings * (2 * rings - 1) faces around the origin."""
    segments = 2 * rings
    polar = np.linspace(0, np.pi, rings + 1)[1:-1]
    around = np.arange(segments) * (2 * np.pi / segments)
    p, a = (grid.reshape(-1) for grid in np.meshgrid(polar, around, indexing="ij"))
    ball = np.stack([np.sin(p) * np.cos(a), np.sin(p) * np.sin(a), np.cos(p)], -1)
    ball = np.concatenate([ball, [[0, 0, 1.0], [0, 0, -1.0]]])
    bumps = 1 + 0.25 * np.sin(5 * ball[:, 0] + 1) * np.sin(4 * ball[:, 1]) * np.cos(3 * ball[:, 2])
    here = np.arange(segments)
    ahead = (here + 1) % segments
    faces = []
    for ring in range(len(polar) - 1):
        a, b = ring * segments + here, ring * segments + ahead
        c, d = a + segments, b + segments
        faces += [np.stack([a, c, b], -1), np.stack([b, c, d], -1)]
    top, bottom, last = len(ball) - 2, len(ball) - 1, (len(polar) - 1) * segments
    faces.append(np.stack([np.full(segments, top), here, ahead], -1))
    faces.append(np.stack([np.full(segments, bottom), last + ahead, last + here], -1))
    return (radius * bumps[:, None] * ball).astype(np.float32), np.concatenate(faces).astype(
        np.int32
    )


def ring_of_cameras(count, image_size, distance=1000.0, field=110.0):
    """K [n 3 3] and T_camera_world [n 4 4] of cameras around the origin.

    `field` is what half the image's smaller side shows at the origin, mm.
    """
    K, T = [], []
    for view in range(count):
        azimuth, height = 2 * np.pi * view / count + 0.3, 0.6 * np.sin(2.1 * view)
        z = -np.array(
            [np.cos(azimuth) * np.cos(height), np.sin(azimuth) * np.cos(height), np.sin(height)]
        )
        x = np.cross([0, 0, 1.0], z)
        x /= np.linalg.norm(x)
        pose = np.eye(4)
        pose[:3, :3] = np.stack([x, np.cross(z, x), z])
        pose[:3, 3] = [3.1, -2.3, distance]
        focal = min(image_size) / 2 * distance / field
        K.append(
            [[focal, 0, image_size[1] / 2 - 0.3], [0, focal, image_size[0] / 2 + 0.2], [0, 0, 1]]
        )
        T.append(pose)
    return np.array(K, np.float32), np.array(T, np.float32)
