"""Every reader of files, each with a small valid file to damage."""

import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from safetensors.flax import save_file

from data_prep.captures.freihand import read_freihand
from data_prep.captures.interhand import read_interhand
from data_prep.captures.rhd import read_annotations
from data_prep.prepare import PrepareOptions, prepare_views
from data_prep.studio.template.hand_template import hand_template
from dhm.data import schema
from dhm.data.prepared_data import PreparedData, Records
from dhm.errors import BadInputError
from dhm.evidence.files import read_evidence
from dhm.evidence.keypoints import in_picture
from dhm.evidence.keypoints_file import KeypointsFile, VideoDetections
from dhm.export import package
from dhm.formats.hand_template import (
    read_hand_model,
    read_template,
    write_hand_model,
    write_template,
)
from dhm.formats.mano_pickle import read_mano, write_mano
from dhm.formats.photo import read_photo
from dhm.formats.picture import read_picture
from dhm.formats.release_annotations import (
    KrtCamera,
    read_depth_pickle,
    read_keypoints,
    read_krt,
    write_krt,
)
from dhm.formats.scan import read_scan
from dhm.geometry.hand_rig import JOINT_NAMES
from dhm.networks.build import ModelSettings
from dhm.networks.pretrained import load_backbone
from dhm.networks.resnet import ResNet
from dhm.runs.config_file import noted_config
from dhm.runs.folder import CONFIG_FILE
from dhm.training.checkpoint import SEAL_FILE, find_damage, seal
from dhm.training.replay import Replay, read_replay, write_replay
from dhm.types import Batch, Camera
from tests.data_prep import synthetic
from tests.data_prep.captures import foreign
from tests.formats.samples import ASCII_PLY, OBJ, binary_ply, small_template
from tests.references.mano import official_entries, python2_pickle, random_mano


class Reader(NamedTuple):
    """A reader and its file.

    Attributes:
        path: A valid file.
        read: Reads the file.
        content: The bytes to damage: by default the file's.
        pack: Makes a file of damaged content. Checksums of the file are then right, so that the
            reader gets past them.
    """

    path: Path
    read: Callable[[], object]
    content: bytes | None = None
    pack: Callable[[bytes], bytes] = bytes


def readers(folder: Path, with_networks: bool = True) -> dict[str, Reader]:
    """Returns every reader by name; writes the files into an empty folder.

    Args:
        folder: The folder.
        with_networks: Whether to include files of networks, which take longest to make.
    """
    return (
        _of_captures(folder)
        | _of_data_sets(folder)
        | _of_evidence(folder)
        | _of_prepared(folder)
        | _of_runs(folder)
        | (_of_networks(folder) if with_networks else {})
    )


def _of_captures(folder: Path) -> dict[str, Reader]:
    found = {}

    def add(name: str, file: str, content: bytes, read: Callable[[Path], object]) -> None:
        path = folder / file
        path.write_bytes(content)
        found[name] = Reader(path, partial(read, path))

    depth = np.array([[0.0, 950.5, 1023.25], [0.0, 0.0, 7.0]], np.float32)
    for protocol in (0, 2, 4, 5):
        content = pickle.dumps(depth, protocol)
        add(f"depth map, pickle {protocol}", f"depth{protocol}.pkl", content, read_depth_pickle)
    linear = random_mano(0, num_vertices=6, num_shapes=2)
    entries = official_entries(linear) | {"tip_vertices": np.arange(5)}
    for protocol in (0, 2):
        content = python2_pickle(entries, protocol)
        add(f"MANO, Python 2's pickle {protocol}", f"mano{protocol}.pkl", content, read_mano)
    write_mano(folder / "mano.pkl", linear)
    add("MANO, as written", "mano.pkl", (folder / "mano.pkl").read_bytes(), read_mano)
    picture = np.random.default_rng(0).integers(0, 255, (24, 20, 3), np.uint8)
    for kind in ("jpg", "png", "bmp", "tiff", "webp"):
        content = cv2.imencode(f".{kind}", picture)[1].tobytes()
        add(f"picture, {kind}", f"picture.{kind}", content, read_picture)
        add(f"photo, {kind}", f"photo.{kind}", content, read_photo)
    keypoints = "".join(f"{index} 1.25 -2.5 900.125 3.5 8\n" for index in range(21))
    add("keypoints", "keypoints.pts", keypoints.encode(), read_keypoints)
    entry = {"keypoints": {"wrist": [4, 5.5, 0.5]}, "K": synthetic.K.tolist(), "side": "left",
             "size": [1280, 960]}  # fmt: skip
    hands = json.dumps({"a.jpg": entry, "v.mp4": {"frames": [entry, None]}}).encode()
    add("keypoints of photos", "photos.json", hands, _read_hands)
    camera = KrtCamera(synthetic.K, np.zeros(5), np.eye(4))
    write_krt(folder / "KRT", {"400001": camera, "400002": camera})
    found["cameras"] = Reader(folder / "KRT", partial(read_krt, folder / "KRT"))
    add("scan, ASCII .ply", "ascii.ply", ASCII_PLY.encode(), read_scan)
    add("scan, binary .ply", "binary.ply", binary_ply("<"), read_scan)
    add("scan, .obj", "scan.obj", OBJ.encode(), read_scan)
    model = folder / "hand_model"
    write_hand_model(small_template(), model)
    for path in sorted(model.iterdir()):
        found[f"hand model, {path.name}"] = Reader(path, partial(read_hand_model, model))
    return found


def _read_hands(path: Path) -> None:
    file = KeypointsFile(path, JOINT_NAMES)
    for name in file.unused:
        hands = file[name]
        is_film = isinstance(hands, VideoDetections)
        for hand in map(hands.of, range(len(hands.frames))) if is_film else [hands]:
            if hand is not None:
                in_picture(path, hand, (480, 640))


def _of_data_sets(folder: Path) -> dict[str, Reader]:
    template, found = hand_template("coarse"), {}
    for protocol in (0, 2, 4):
        path = folder / f"rhd{protocol}.pickle"
        path.write_bytes(pickle.dumps({3: foreign.rhd_entry(foreign.hand([0, 0, 400]))}, protocol))
        found[f"RHD, pickle {protocol}"] = Reader(path, partial(read_annotations, path))
    freihand = foreign.write_freihand(folder / "freihand", 1)
    for name in ("K", "xyz"):
        read = partial(read_freihand, freihand, template)
        found[f"FreiHAND, {name}"] = Reader(freihand / f"training_{name}.json", read)
    interhand = foreign.write_interhand(folder / "interhand", ("interacting",))
    for path in sorted((interhand / "annotations" / "train").iterdir()):
        read = partial(read_interhand, interhand, template)
        found[f"InterHand2.6M, {path.name}"] = Reader(path, read)
    return found


def _of_evidence(folder: Path) -> dict[str, Reader]:
    """Evidence for the fit, and the files that it names."""
    evidence = folder / "evidence"
    evidence.mkdir()
    depth = np.pad(np.full((4, 5), 900, np.uint16), 1)
    scan, picture, numbers = (evidence / name for name in ("a.ply", "depth.png", "depth.npy"))
    scan.write_bytes(binary_ply("<"))
    picture.write_bytes(cv2.imencode(".png", depth)[1].tobytes())
    np.save(numbers, np.float32(depth))
    rigid = {"T_frame_model": np.eye(4).tolist(), "angles_rad": {"index1_z": 0.25}}
    camera = {"K": synthetic.K.tolist(), "R": np.eye(3).tolist(), "t": [0, 0, 1.5]}
    seen = camera | {"points": {name: [4, 5.5, 0.5] for name in JOINT_NAMES[:4]}}
    entry = {"joints": {"wrist": [1, 2.5, 900], "index1": [1, 2, 3, 0.5]}, "start": rigid}
    shared = {"cameras": {"a": seen}, "side": "left", "fit_scale": True, "sequence": True}
    contents = {
        "frames": shared | {"frames": [entry, {}]},
        "scan": entry | {"scan": scan.name},
        "depth map, .png": entry | {"cameras": {"a": seen | {"depth": picture.name}}},
        "depth map, .npy": entry | {"cameras": {"a": seen | {"depth": numbers.name}}},
    }
    found = {}
    for (name, content), damaged in zip(
        contents.items(), (None, scan, picture, numbers), strict=True
    ):
        path = evidence / f"{name}.json"
        path.write_text(json.dumps(content))
        found[f"evidence, {name}"] = Reader(
            damaged or path, partial(read_evidence, path, JOINT_NAMES)
        )
    batch, rng = evidence / "batch.npz", np.random.default_rng(0)
    np.savez(
        batch, joints=rng.normal(size=(2, 3, 3)), joint_names=np.array(JOINT_NAMES[:3]),
        keypoints=rng.normal(size=(2, 1, 3, 2)), K=synthetic.K[None],
        T_camera_world=np.eye(4)[None], depth=np.float32(depth)[None, None].repeat(2, 0),
        sequence=np.array(True),
    )  # fmt: skip
    read = partial(read_evidence, batch, JOINT_NAMES)
    return found | {"evidence, .npz": Reader(batch, read)} | _arrays("evidence", batch, read)


def _of_prepared(folder: Path) -> dict[str, Reader]:
    capture, prepared = synthetic.write_capture(folder / "capture"), folder / "prepared"
    prepare_views(capture, folder / "capture", prepared, PrepareOptions(4, image_size=24))
    data = PreparedData(prepared)
    (shard,) = (prepared / "records").glob("*.array_record*")
    index = partial(schema.read_index, prepared)
    frame = data.sequence("train", 0), int(data.split_index("train").frame[0])

    def all_records() -> None:
        records = Records(prepared, "train", data.num_train)
        for number in range(data.num_train):
            records.read(number)

    with closing(ArrayRecordReader(str(shard))) as reader:
        example = reader.read([0])[0]
    alone = folder / "alone"
    (alone / "records").mkdir(parents=True)
    (alone / "records" / shard.name).touch()

    def one_record() -> None:
        record = Records(alone, "train", 1).read(0)
        data.decode_image("train", 0, record)
        data.depth_codes("train", 0, record)

    pack = partial(_as_array_record, folder / "packed")
    return {
        "prepared, info": Reader(prepared / "prepared.json", partial(schema.read_info, prepared)),
        "prepared, index": Reader(prepared / "index.npz", index),
        **_arrays("prepared, index", prepared / "index.npz", index),
        "prepared, scan": Reader(
            schema.scan_file(prepared, *frame), partial(schema.read_scan, prepared, *frame)
        ),
        "prepared, file of records": Reader(shard, all_records),
        "prepared, record": Reader(alone / "records" / shard.name, one_record, example, pack),
    }


def _of_runs(folder: Path) -> dict[str, Reader]:
    replay, template, run = folder / "step_7.msgpack", folder / "template.npz", folder / "run"
    zeros = np.zeros((2, 1, 1), np.float32)
    batch = Batch(
        image=np.zeros((2, 4, 4, 3), np.uint8), joints=zeros, joint_valid=zeros[..., 0],
        target_depth=zeros, target_camera=Camera(zeros, zeros), frame=zeros[:, 0, 0],
        record=np.zeros(2, int),
    )  # fmt: skip
    write_replay(replay, Replay(7, {"params": {"w": np.zeros(3)}}, batch, ("a", "b")))
    write_template(template, small_template())
    checkpoint = run / "checkpoint"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state").write_bytes(b"numbers")
    seal(checkpoint)
    (run / CONFIG_FILE).write_text('{"train": {"epochs": 35, "rates": [1e-4, null]}}\n')

    def seen() -> None:
        if found := find_damage(checkpoint):
            raise BadInputError(checkpoint / SEAL_FILE, found, "as it was written")

    return {
        "step to replay": Reader(replay, partial(read_replay, replay)),
        "template": Reader(template, partial(read_template, template)),
        **_arrays("template", template, partial(read_template, template)),
        "run's config": Reader(run / CONFIG_FILE, partial(noted_config, run)),
        "checkpoint's digests": Reader(checkpoint / SEAL_FILE, seen),
    }


def _of_networks(folder: Path) -> dict[str, Reader]:
    settings = ModelSettings(
        depth=18, width=4, head_hidden=(8,), skeleton_hidden=8, skin_hidden=8, identity_size=4
    )
    resnet = ResNet(18, 4).init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    params, stats = resnet["params"]["conv1"], resnet["batch_stats"]["bn1"]
    package.save_model(folder / "export", resnet, small_template(), settings, {})
    weights, description, variables = (
        folder / "resnet.safetensors",
        folder / "export" / package.MODEL_FILE,
        folder / "export" / package.PARAMS_FILE,
    )
    tensors = {"conv1.weight": jnp.transpose(params["kernel"], (3, 2, 0, 1))}
    tensors |= {f"bn1.running_{name}": stats[name] for name in ("mean", "var")}
    save_file(tensors, weights)

    def vouched_for() -> None:
        digest = hashlib.sha256(variables.read_bytes()).hexdigest()
        package.read_params(variables, digest)

    return {
        "pretrained weights": Reader(
            weights, lambda: load_backbone(weights, {"conv1": params}, {"bn1": stats})
        ),
        "exported model's description": Reader(
            description, partial(package.read_description, description)
        ),
        "exported parameters": Reader(variables, vouched_for),
    }


def _arrays(name: str, path: Path, read: Callable[[], object]) -> dict[str, Reader]:
    """Readers of the arrays of an .npz file, which have checksums in it."""
    with np.load(path) as file:
        arrays = dict(file)

    def pack(damaged_name: str, content: bytes) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for array in arrays:
                whole = _as_npy(arrays[array])
                archive.writestr(f"{array}.npy", content if array == damaged_name else whole)
        return file.getvalue()

    return {
        f"{name}, {array}": Reader(path, read, _as_npy(arrays[array]), partial(pack, array))
        for array in arrays
    }


def _as_npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _as_array_record(path: Path, content: bytes) -> bytes:
    with closing(ArrayRecordWriter(str(path), "group_size:1")) as writer:
        writer.write(content)
    return path.read_bytes()
