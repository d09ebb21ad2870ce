"""Files of hand templates: the hand_model folder and template.npz."""

import dataclasses

import numpy as np
import pytest

from dhm.errors import BadInputError
from dhm.formats.hand_template import (
    read_hand_model,
    read_skeleton,
    read_template,
    write_hand_model,
    write_template,
)
from dhm.types import HandTemplate
from tests.formats.samples import small_template


@pytest.fixture
def folder(tmp_path):
    write_hand_model(small_template(), tmp_path / "hand_model")
    return tmp_path / "hand_model"


def assert_same_template(found: HandTemplate, expected: HandTemplate) -> None:
    for field in dataclasses.fields(HandTemplate):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(other, tuple):
            assert one == other
        else:
            assert one.dtype == other.dtype
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_written_folder_is_read_back(folder):
    assert_same_template(read_hand_model(folder), small_template())


def test_the_foreign_hand_model_survives_being_written_back(release_mini, tmp_path):
    template = read_hand_model(release_mini / "hand_model")
    assert (template.num_joints, template.num_vertices) == (22, 908)
    assert template.joint_names[4] == "thumb0" and template.parents[21] == -1
    write_hand_model(template, tmp_path)
    assert_same_template(read_hand_model(tmp_path), template)


def test_written_files_have_the_released_layout(folder):
    assert (folder / "skeleton.txt").read_text().split("\n")[:2] == [
        "# joint_name joint_id joint_parent_id",
        "b_r_index_null 0 1",
    ]
    assert (folder / "hand.obj").read_text().split("\n")[1].startswith("v 9.12345")  # cm
    assert (
        "\n1 b_r_index_null 0.25 b_r_index2 0.5 b_r_index1 0.25 \n"
        in (folder / "skinning_weight.txt").read_text()
    )
    rows = (folder / "global_pose.txt").read_text().split("\n")[1:-1]
    assert [row.split()[0] for row in rows] == [f"b_r_{n}" for n in small_template().joint_names]
    assert all(len(row.split()) == 17 and row.endswith(" ") for row in rows)
    # The tip's transform in the model's frame is the product down from the root.
    T = small_template().T_parent_joint.astype(np.float64)
    np.testing.assert_allclose(
        np.array(rows[0].split()[1:], float).reshape(4, 4), T[3] @ T[2] @ T[1] @ T[0], atol=1e-5
    )


@pytest.mark.mistake(
    "capture, hand_model", "files of Windows, with a byte-order mark or in Latin-1", "understood"
)
@pytest.mark.parametrize("newline", ["\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1"])
def test_files_of_every_system_and_encoding_are_the_same(folder, newline, encoding):
    """And what macOS leaves beside them is no part of the folder."""
    for path in list(folder.iterdir()):
        text = path.read_text() + "# für Jürgen\n"
        path.write_bytes(text.replace("\n", newline).encode(encoding))
        path.with_name(f"._{path.name}").write_bytes(bytes(82))
    assert_same_template(read_hand_model(folder), small_template())


@pytest.mark.mistake("capture, hand_model", "quads in hand.obj", "understood: cut into triangles")
def test_quadrilaterals_become_triangles(folder):
    path = folder / "hand.obj"
    rows = path.read_text().splitlines()
    faces = [row.split()[1:] for row in rows if row.startswith("f ")]
    quad = " ".join(["f", *faces[0], faces[1][2]])
    others = [row for row in rows if not row.startswith("f ")]
    path.write_text("\n".join([*others, quad, ""]))
    assert len(read_hand_model(folder).faces) == 2


@pytest.mark.mistake("capture, hand_model", "lines in another order", "understood, by the names")
def test_lines_may_come_in_any_order(folder):
    for name in ("skeleton", "skinning_weight", "local_pose", "global_pose", "global_pose_inv"):
        path = folder / f"{name}.txt"
        path.write_text("\n".join(reversed(path.read_text().split("\n"))))
    assert_same_template(read_hand_model(folder), small_template())


def test_joint_ids_decide_the_order(folder):
    path = folder / "skeleton.txt"
    path.write_text("b_r_wrist 0 -1\nb_r_index1 2 0\nb_r_index2 1 2\nb_r_index_null 3 1\n")
    template = read_hand_model(folder)
    assert template.joint_names == ("wrist", "index2", "index1", "index_null")
    assert template.parents == (-1, 2, 0, 1)
    expected = small_template()
    np.testing.assert_allclose(template.T_parent_joint[0], expected.T_parent_joint[3], atol=1e-6)
    np.testing.assert_allclose(template.lbs_weights[:, 1], expected.lbs_weights[:, 1], atol=1e-6)


def test_weights_just_off_one_are_renormalised(folder):
    path = folder / "skinning_weight.txt"
    path.write_text(path.read_text().replace("b_r_index2 0.5 ", "b_r_index2 0.5009 "))
    row = read_hand_model(folder).lbs_weights[1]
    np.testing.assert_allclose(row, np.array([0.25, 0.5009, 0.25, 0]) / 1.0009, atol=1e-7)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("skeleton", "b_r_index2 1 2\n", "", r"skeleton.txt: found ids \[0, 2, 3\], expected the "),
        ("skeleton", "b_r_index2 1 2", "b_r_index2 1", "skeleton.txt:3: found 2 values, expected "),
        ("skeleton", "b_r_index2 1 2", "b_r_index1 1 2", "joint b_r_index1 2: name or id a second"),
        ("skeleton", "b_r_index2 1 2", "b_r_index2 0 2", "joint b_r_index2 0: name or id a second"),
        ("skeleton", "b_r_index2 1 2", "b_r_index2 1 7", "skeleton.txt:3: found parent 7"),
        ("skeleton", "b_r_index2 1 2", "b_r_index2 1 -1", "found 2 roots"),
        ("skeleton", "b_r_wrist 3 -1", "b_r_wrist 3 2", "found 0 roots"),
        ("skeleton", "b_r_index1 2 3", "b_r_index1 2 1", "found a cycle in the parents of b_r_ind"),
        ("skeleton", "b_r_index1 2 3", "b_r_index1 2 x", "found 'x', expected an integer"),
        ("skeleton", "b_r_wrist 3", "b_r_arm 3", "local_pose.txt:5: found unknown joint 'b_r_wris"),
        ("local_pose", "b_r_wrist", "b_r_index2", "local_pose.txt:5: found joint b_r_index2 a sec"),
        ("local_pose", "\nb_r_wrist", "\n#", "local_pose.txt: found no line for joint b_r_wrist"),
        ("global_pose", "b_r_wrist", "wrist", "global_pose.txt:5: found unknown joint 'wrist'"),
        ("local_pose", " 0 0 0 1 ", " 0 0 0 ", "local_pose.txt:2: found 15 values, expected 16 nu"),
        ("local_pose", " 0 0 0 1 ", " 0 0 1 1 ", r"local_pose.txt:2: found last row"),
        ("local_pose", "b_r_wrist 1", "b_r_wrist 1.01", "local_pose.txt:5: found a 3x3 part with"),
        ("local_pose", "b_r_wrist 1", "b_r_wrist -1", "det -1, expected a rotation"),
        ("local_pose", "b_r_wrist 1", "b_r_wrist nan", "local_pose.txt:5: found 'nan', expected a"),
        ("local_pose", " 31.25 ", " 33.25 ", "global_pose.txt: found joint b_r_index_null off by"),
        ("global_pose", " 31.25 ", " 33.25 ", "found joint b_r_wrist off by 2 mm and 0 in rotatio"),
        ("global_pose_inv", " -31.25 ", " -33.25 ", "global_pose_inv.txt: found joint b_r_wrist o"),
        ("skinning_weight", "2 b_r_index_null 1", "", "found no weights for vertex 2, expected a "),
        ("skinning_weight", "index2 0.5 ", "index2 0.502 ", ":3: found weights that sum to 1.002"),
        ("skinning_weight", "index2 0.5 ", "index2 -0.5 ", ":3: found weight -0.5 of joint b_r_in"),
        ("skinning_weight", "index2 0.5 ", "index2 inf ", ":3: found 'inf', expected a finite num"),
        ("skinning_weight", "index2 0.5 ", "index2 ", ":3: found 5 values after the id, expected "),
        ("skinning_weight", "index2 0.5 ", "index9 0.5 ", ":3: found unknown joint 'b_r_index9'"),
        ("skinning_weight", "index2 0.5 ", "index1 0.5 ", ":3: found joint b_r_index1 a second ti"),
        ("skinning_weight", "\n2 b_r", "\n1 b_r", ":4: found vertex 1 a second time"),
        ("skinning_weight", "\n2 b_r", "\n4 b_r", ":4: found vertex 4, expected an id from 0 to 3"),
        ("skinning_weight", "2 b_r_index_null 1 ", "2", ":4: found 0 values after the id"),
    ],
)
def test_bad_folders_are_refused(folder, file, old, new, message):
    path = folder / f"{file}.txt"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(BadInputError, match=message):
        read_hand_model(folder)


def _scaled_mesh(folder, factor):
    path = folder / "hand.obj"
    rows = [row.split() for row in path.read_text().splitlines()]
    path.write_text("".join(
        " ".join([word, *(f"{factor * float(x):.7f}" for x in rest)] if word == "v" else
                 [word, *rest]) + "\n" for word, *rest in rows
    ))  # fmt: skip


def _transposed(folder):
    for name in ("local_pose", "global_pose", "global_pose_inv"):
        path = folder / f"{name}.txt"
        head, *rows = path.read_text().splitlines()
        words = [row.split() for row in rows]
        path.write_text("\n".join([head, *(
            " ".join([word, *np.array(numbers).reshape(4, 4).T.ravel()]) for word, *numbers in words
        ), ""]))  # fmt: skip


def _replaced(file, old, new):
    def change(folder):
        path = folder / f"{file}.txt"
        path.write_text(path.read_text().replace(old, new))

    return change


def _from_1(folder):
    path = folder / "skinning_weight.txt"
    head, *rows = path.read_text().splitlines()
    numbered = (f"{int(row.split()[0]) + 1} {row.split(' ', 1)[1]}" for row in rows)
    path.write_text("\n".join([head, *numbered, ""]))


def _ids_from_1(folder):
    path = folder / "skeleton.txt"
    head, *rows = path.read_text().splitlines()
    words = [row.split() for row in rows]
    shifted = (
        f"{name} {int(joint) + 1} {max(int(parent) + 1, -1)}" for name, joint, parent in words
    )
    path.write_text("\n".join([head, *shifted, ""]))


WRONG_FOLDERS = [
    pytest.param(
        lambda folder: _scaled_mesh(folder, 10),
        r"hand\.obj: found a mesh of 1.*e\+03 mm over joints of .*a mesh in cm and local_pose",
        marks=pytest.mark.mistake("capture, hand_model", "hand.obj in mm instead of cm", "refused"),
    ),
    pytest.param(
        lambda folder: _scaled_mesh(folder, 0.01),
        r"hand\.obj: found a mesh of .*a mesh in cm",
        marks=pytest.mark.mistake(
            "capture, hand_model", "hand.obj in metres instead of cm", "refused"
        ),
    ),
    pytest.param(
        _transposed,
        r"local_pose\.txt:2: found last row .*expected last row 0 0 0 1",
        marks=pytest.mark.mistake(
            "capture, hand_model", "matrices column by column", "refused, with the line"
        ),
    ),
    pytest.param(
        _from_1,
        r"skinning_weight\.txt:5: found vertex 4, expected an id from 0 to 3",
        marks=pytest.mark.mistake(
            "capture, hand_model", "vertex ids from 1", "refused, with the line"
        ),
    ),
    pytest.param(
        _ids_from_1,
        r"skeleton\.txt: found ids \[1, 2, 3, 4\], expected the ids 0 to 3",
        marks=pytest.mark.mistake("capture, hand_model", "joint ids from 1", "refused"),
    ),
    pytest.param(
        _replaced("skinning_weight", "b_r_", ""),
        r"skinning_weight\.txt:2: found unknown joint 'wrist', expected a joint of skeleton\.txt",
        marks=pytest.mark.mistake(
            "capture, hand_model",
            "joints that are called otherwise in two files",
            "refused, with the line",
        ),
    ),
]


@pytest.mark.parametrize(("change", "message"), WRONG_FOLDERS)
def test_likely_mistakes_in_the_folder_are_refused(folder, change, message):
    change(folder)
    with pytest.raises(BadInputError, match=message):
        read_hand_model(folder)


@pytest.mark.mistake("capture, hand_model", "hand.obj without texture coordinates", "refused")
def test_a_mesh_without_texture_coordinates_is_refused(folder):
    (folder / "hand.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\n")
    with pytest.raises(BadInputError, match="a corner without a texture coordinate"):
        read_hand_model(folder)


@pytest.mark.mistake("capture, hand_model", "a missing file or folder", "refused, with its name")
def test_missing_files_of_the_folder_are_refused(folder, tmp_path):
    with pytest.raises(BadInputError, match="no such folder"):
        read_hand_model(tmp_path / "absent")
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(BadInputError, match=f"{path.name}: found no such file"):
            read_hand_model(folder)
        path.write_bytes(content)


def test_an_empty_skeleton_is_refused(tmp_path):
    (tmp_path / "skeleton.txt").write_text("# joint_name joint_id joint_parent_id\n")
    with pytest.raises(BadInputError, match="found no joint"):
        read_skeleton(tmp_path / "skeleton.txt")


def test_a_mesh_cut_off_within_its_faces_is_refused(folder):
    path = folder / "hand.obj"
    text = path.read_text()
    lines = text.splitlines(keepends=True)
    first_face = next(i for i, line in enumerate(lines) if line.startswith("f "))
    path.write_text("".join(lines[: first_face + 1]))  # vertex 3 is in no face then
    with pytest.raises(BadInputError, match=r"hand\.obj: found 1 of 4 vertices in no face"):
        read_hand_model(folder)
    path.write_text(text.rstrip()[:-1])
    with pytest.raises(BadInputError, match=r"hand\.obj: found a last line without its end"):
        read_hand_model(folder)


def assert_identical(found, expected):
    for field in dataclasses.fields(expected):
        assert type(getattr(found, field.name)) is type(getattr(expected, field.name))
        np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name))


def test_template_npz_is_read_back_exactly(tmp_path):
    template = small_template()
    write_template(tmp_path / "template.npz", template)
    back = read_template(tmp_path / "template.npz")
    assert_identical(back, template)
    assert all(type(parent) is int for parent in back.parents)


@pytest.mark.mistake("template.npz", "an incomplete download or copy", "refused")
@pytest.mark.parametrize("keep", [0, 40, 0.5, 0.98])
def test_a_truncated_npz_is_refused(tmp_path, keep):
    write_template(tmp_path / "template.npz", small_template())
    path = tmp_path / "template.npz"
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    with pytest.raises(BadInputError, match=r"template\.npz: found a damaged file"):
        read_template(tmp_path / "template.npz")


def test_a_changed_byte_of_the_npz_is_refused_or_harmless(tmp_path):
    write_template(tmp_path / "template.npz", small_template())
    path = tmp_path / "template.npz"
    data = path.read_bytes()
    refused = 0
    for position in range(0, len(data), 13):
        path.write_bytes(data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :])
        try:
            back = read_template(tmp_path / "template.npz")
        except BadInputError:
            refused += 1
        else:
            assert_identical(back, small_template())
    assert refused > 0


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("faces", lambda a: a + 4, "found faces from 4 to 7, expected indices below 4"),
        ("faces_uv", lambda a: a[:0], r"found faces_uv as int32 \[0, 3\]"),
        ("parents", lambda a: a * 0 - 1, "found 4 roots"),
        ("parents", lambda a: np.array([1, 0, -1, 2]), "found a cycle"),
        ("lbs_weights", lambda a: a[:, :3], r"found lbs_weights as float32 \[4, 3\], expected"),
        ("v_template", lambda a: a * np.nan, "found v_template with NaN or infinity"),
        ("uvs", lambda a: a.astype(str), "found uvs as <U32"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, name, change, message):
    path = tmp_path / "template.npz"
    write_template(path, small_template())
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **arrays | {name: change(arrays[name])})
    with pytest.raises(BadInputError, match=rf"template\.npz: {message}"):
        read_template(path)


def _changed(path, **arrays):
    write_template(path, small_template())
    with np.load(path) as file:
        np.savez(path, **dict(file) | {name: change(file[name]) for name, change in arrays.items()})


WRONG_ARRAYS = [
    pytest.param(
        {"faces": lambda a: a + 1},
        "faces from 1 to 4, expected indices below 4",
        marks=pytest.mark.mistake("template.npz", "faces that count from 1", "refused"),
    ),
    pytest.param(
        {"v_template": lambda a: a.T},
        r"v_template as float32 \[3, 4\]",
        marks=pytest.mark.mistake("template.npz", "arrays with the axes exchanged", "refused"),
    ),
    pytest.param(
        {"parents": lambda a: np.array([0, *a[1:]])},
        "found 1 roots|a cycle|found 0 roots",
        marks=pytest.mark.mistake("template.npz", "parents that are none of the tree", "refused"),
    ),
    pytest.param(
        {"T_parent_joint": lambda a: a[:, :3]},
        r"T_parent_joint as float32 \[4, 3, 4\]",
        marks=pytest.mark.mistake("template.npz", "transforms of three rows", "refused"),
    ),
    pytest.param(
        {"lbs_weights": lambda a: a * 100},
        "lbs_weights whose rows sum to 100",
        marks=pytest.mark.mistake("template.npz", "weights in percent", "refused"),
    ),
    pytest.param(
        {"T_parent_joint": lambda a: np.swapaxes(a, 1, 2)},
        "a T_parent_joint with the last row .*rigid transforms",
        marks=pytest.mark.mistake("template.npz", "transposed transforms", "refused"),
    ),
]


@pytest.mark.parametrize(("changes", "message"), WRONG_ARRAYS)
def test_likely_mistakes_in_the_npz_are_refused(tmp_path, changes, message):
    _changed(tmp_path / "template.npz", **changes)
    with pytest.raises(BadInputError, match=rf"template\.npz: found {message}"):
        read_template(tmp_path / "template.npz")


@pytest.mark.mistake("template.npz", "a folder, another .npz or another file", "refused")
def test_other_files_than_templates_are_refused(tmp_path):
    np.savez(tmp_path / "other.npz", vertices=np.zeros((4, 3)))
    (tmp_path / "model.json").write_text("{}")
    for name, said in (
        ("", "found a damaged file"), ("other.npz", "found no array 'joint_names'"),
        ("model.json", "found a damaged file"), ("absent.npz", "found no such file"),
    ):  # fmt: skip
        with pytest.raises(BadInputError, match=said):
            read_template(tmp_path / name)


def test_pickled_objects_are_refused(tmp_path):
    np.savez(tmp_path / "template.npz", joint_names=np.array([{"a": 1}], object))
    with pytest.raises(BadInputError, match=r"template\.npz: found a damaged file"):
        read_template(tmp_path / "template.npz")
