"""Writes small data sets in other people's layouts; each joint is a disk of its own colour.

A joint of a record must project onto its colour: this checks cameras, joint orders, units,
mirroring and cropping against the pictures at once.
"""

import json
import pickle
from pathlib import Path

import cv2
import numpy as np

FINGERS = ("thumb", "index", "middle", "ring", "pinky")
NAMES = ("wrist", *(f"{finger}{part}" for finger in FINGERS for part in ("1", "2", "3", "_null")))
"""Wrist, then each finger from the palm to the tip."""

RHD_K = np.array([[282.9, 0, 160.0], [0, 282.9, 158.5], [0, 0, 1]])
FREIHAND_K = np.array([[388.9, 0, 112.0], [0, 389.1, 110.7], [0, 0, 1]])


def colour(name: str, is_left: bool = False) -> np.ndarray:
    """RGB of a joint: the finger gives red and green, the place along it blue."""
    part = ("1", "2", "3", "l").index(name[-1]) if name != "wrist" else 0
    red, green = [(250, 20), (20, 250), (230, 230), (20, 20), (130, 240), (250, 130)][
        0 if name == "wrist" else 1 + [name.startswith(f) for f in FINGERS].index(True)
    ]
    return np.array([red, green, 40 + 55 * part + (20 if is_left else 0)])


BENT = {"knuckles": -20.0, "lengths": (42.0, 26.0, 22.0), "bend": 0.35}
"""For `hand`: a person's proportions, with fingers that bend to the palm."""


def hand(
    centre,
    is_left: bool = False,
    *,
    knuckles: float = 20.0,
    lengths=(17.0, 17.0, 17.0),
    bend: float = 0.0,
) -> dict[str, np.ndarray]:
    """A flat hand in mm seen along z: its joints by name, none of which hides another.

    A right hand shown by its back has its thumb at the left; a left hand is its mirror image.
    The outer joints bend to the palm by an angle.
    """
    angles = bend * np.arange(3)
    along = np.concatenate([[0], np.cumsum(lengths * np.cos(angles))])
    away = np.concatenate([[0], np.cumsum(lengths * np.sin(angles))])
    joints = {"wrist": np.array([0.0, 60, 0])}
    for i, finger in enumerate(FINGERS):
        for k, part in enumerate(("1", "2", "3", "_null")):
            x = -36 + 18.0 * i - (1.5 - k) * (2 - i)
            y = knuckles - along[k] + (12 if i == 0 else 0)
            joints[f"{finger}{part}"] = np.array([x, y, 4.0 * k + away[k]])
    side = np.array([-1 if is_left else 1, 1, 1])
    return {name: point * side + centre for name, point in joints.items()}


def project(points: np.ndarray, K: np.ndarray) -> np.ndarray:
    pixels = points / points[:, 2:] @ K.T
    return pixels[:, :2]


def paint(picture: np.ndarray, pixels: np.ndarray, colours: np.ndarray, radius: int = 3) -> None:
    """Draws a disk for each joint into an RGB picture, to a sixteenth of a pixel."""
    for (u, v), rgb in zip(pixels, colours, strict=True):
        at = (round(16 * u), round(16 * v))
        cv2.circle(picture, at, 16 * radius, tuple(map(int, rgb)), -1, cv2.LINE_AA, 4)


def save(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    bgr = picture[..., ::-1] if picture.ndim == 3 else picture
    quality = [cv2.IMWRITE_JPEG_QUALITY, 98] if path.suffix == ".jpg" else []
    assert cv2.imwrite(str(path), bgr, quality)


def assert_joints_on_their_colours(data, split: str, record: int) -> int:
    """Checks a record's joints against its picture; returns how many."""
    fields, names = data.record(split, record), data.template.joint_names
    image = data.image(split, record)
    is_left = "left" in fields.sequence
    T = fields.T_camera_world
    checked = 0
    for joint in np.flatnonzero(fields.joint_valid):
        u, v = project((T[:3, :3] @ fields.joints[joint] + T[:3, 3])[None], fields.K)[0]
        column, row = round(float(u)), round(float(v))
        if 0 <= column < image.shape[1] and 0 <= row < image.shape[0]:
            found = image[row, column].astype(int)
            distance = np.abs(found - colour(names[joint], is_left)).max()
            assert distance < 20, (names[joint], found, colour(names[joint], is_left))
            checked += 1
    return checked


# RHD -----------------------------------------------------------------------------------------

PERSON_FROM = 190
"""First column of the person in the pictures."""
RHD_ORDER = ("wrist", *(f"{f}{p}" for f in FINGERS for p in ("_null", "3", "2", "1")))


def rhd_entry(left=None, right=None, visible=(21, 21)) -> dict[str, np.ndarray]:
    """A picture's entry: the hands' joints in mm, None for one out of sight behind the camera."""
    away = {name: point * [1, 1, -1] for name, point in hand([0, 0, 500]).items()}
    points = [np.stack([(side or away)[name] for name in RHD_ORDER]) for side in (left, right)]
    xyz = np.concatenate(points) / 1000
    shown = np.concatenate([np.arange(21) < count for count in visible])
    shown &= np.repeat([left is not None, right is not None], 21)
    uv_vis = np.column_stack([project(xyz, RHD_K), shown])
    return {"xyz": xyz, "uv_vis": uv_vis, "K": RHD_K.astype(np.float32)}


def write_rhd(root: Path, entries: dict[str, dict[int, dict]], protocol: int = 3) -> Path:
    """Writes pictures, masks and annotations by split."""
    for split, of_split in entries.items():
        for number, entry in of_split.items():
            picture, mask = np.full((320, 320, 3), 90, np.uint8), np.zeros((320, 320), np.uint8)
            mask[:, PERSON_FROM:] = 1
            for side, (low, is_left) in enumerate(((2, True), (18, False))):
                mine = slice(21 * side, 21 * side + 21)
                if entry["uv_vis"][mine, 2].any():
                    colours = np.stack([colour(name, is_left) for name in RHD_ORDER])
                    paint(picture, entry["uv_vis"][mine, :2], colours)
                    for k, (u, v) in enumerate(entry["uv_vis"][mine, :2]):
                        cv2.circle(mask, (round(u), round(v)), 6, low + min(k, 15), -1)
            save(root / split / "color" / f"{number:05d}.png", picture)
            save(root / split / "mask" / f"{number:05d}.png", mask)
        path = root / split / f"anno_{split}.pickle"
        path.write_bytes(pickle.dumps(of_split, protocol))
    return root


# FreiHAND ------------------------------------------------------------------------------------


def write_freihand(root: Path, num_frames: int = 2) -> Path:
    """Writes some frames in four versions, with the masks of the first."""
    all_K, all_xyz = [], []
    for frame in range(num_frames):
        joints = hand([4.0 * frame, 0, 420])
        points = np.stack([joints[name] for name in NAMES])
        all_K.append(FREIHAND_K.tolist())
        all_xyz.append((points / 1000).tolist())
        pixels = project(points, FREIHAND_K)
        for version, grey in enumerate((200, 60, 100, 140)):
            picture = np.full((224, 224, 3), grey, np.uint8)
            paint(picture, pixels, np.stack([colour(name) for name in NAMES]))
            save(root / "training" / "rgb" / f"{frame + num_frames * version:08d}.jpg", picture)
        mask = np.zeros((224, 224), np.uint8)
        cv2.fillConvexPoly(mask, cv2.convexHull(pixels.astype(np.int32)), 255)
        save(root / "training" / "mask" / f"{frame:08d}.jpg", mask)
    (root / "training_K.json").write_text(json.dumps(all_K))
    (root / "training_xyz.json").write_text(json.dumps(all_xyz))
    return root


# InterHand2.6M -------------------------------------------------------------------------------

INTERHAND_ORDER = (*RHD_ORDER[1:], "wrist")
_SEQUENCE = "ROM01_No_Interaction_2_Hand"


def write_interhand(root: Path, hand_types=("right", "left", "interacting")) -> Path:
    """Writes a frame of each hand type by two cameras in each of the splits train and test."""
    for split in ("train", "test"):
        names = ("camera", "joint_3d", "data")
        contents = {"camera": {"0": _interhand_cameras()}, "joint_3d": {"0": {}},
                    "data": {"images": [], "annotations": []}}  # fmt: skip
        for index, hand_type in enumerate(hand_types):
            _add_interhand_frame(root, split, contents, 1000 + 6 * index, hand_type)
        folder = root / "annotations" / split
        folder.mkdir(parents=True)
        for name in names:
            path = folder / f"InterHand2.6M_{split}_{name}.json"
            path.write_text(json.dumps(contents[name]))
    return root


def _interhand_cameras() -> dict:
    """Two cameras half a metre apart that look at the same place, a metre and a bit away."""
    cameras = {"campos": {}, "camrot": {}, "focal": {}, "princpt": {}}
    for name, angle in (("400262", -0.2), ("400263", 0.25)):
        c, s = np.cos(angle), np.sin(angle)
        R = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        cameras["campos"][name] = ([0, 0, 1000] - R.T @ [0, 0, 1100]).tolist()
        cameras["camrot"][name] = R.tolist()
        cameras["focal"][name] = [1270.5, 1271.0]
        cameras["princpt"][name] = [170.25, 250.75]
    return cameras


def _add_interhand_frame(
    root: Path, split: str, contents: dict, frame: int, hand_type: str
) -> None:
    cameras, data = contents["camera"]["0"], contents["data"]
    right, left = hand([-60, 0, 1000]), hand([60, 20, 1000], is_left=True)
    points = np.stack([side[name] for side in (right, left) for name in INTERHAND_ORDER])
    valid = np.repeat([hand_type != "left", hand_type != "right"], 21).astype(int)
    valid[3] = 0  # thumb1 of the right hand was never found
    points[valid == 0] = 1.0
    contents["joint_3d"]["0"][str(frame)] = {
        "world_coord": points.tolist(),
        "joint_valid": valid[:, None].tolist(),
        "hand_type": hand_type,
        "hand_type_valid": True,
    }
    colours = np.stack([colour(n, left) for left in (False, True) for n in INTERHAND_ORDER])
    for camera in cameras["campos"]:
        R, position = np.array(cameras["camrot"][camera]), np.array(cameras["campos"][camera])
        K = np.diag([*cameras["focal"][camera], 1.0])
        K[:2, 2] = cameras["princpt"][camera]
        picture = np.full((512, 334, 3), 30, np.uint8)
        shown = valid == 1
        paint(picture, project((points[shown] - position) @ R.T, K), colours[shown], radius=4)
        name = f"Capture0/{_SEQUENCE}/cam{camera}/image{frame}.jpg"
        save(root / "images" / split / name, picture)
        number = len(data["images"])
        data["images"].append({
            "id": number, "file_name": name, "width": 334, "height": 512, "capture": 0,
            "subject": 6, "seq_name": _SEQUENCE, "camera": camera, "frame_idx": frame,
        })  # fmt: skip
        data["annotations"].append({
            "id": number, "image_id": number, "bbox": [10.0, 10.0, 300.0, 300.0],
            "joint_valid": valid.tolist(), "hand_type": hand_type, "hand_type_valid": 1,
        })  # fmt: skip
