import numpy as np
import pytest
import trimesh

from dhm.data.prepared_data import PreparedData
from dhm.export.meshes import write_mesh


@pytest.fixture(scope="module")
def template(toy_prepared):
    return PreparedData(toy_prepared).template


@pytest.fixture(scope="module")
def written(template, tmp_path_factory):
    """A posed hand a metre away, in single precision as the model gives it."""
    rng = np.random.default_rng(0)
    vertices = template.v_template + rng.normal(size=template.v_template.shape) + [300, -20, 1000]
    stem = tmp_path_factory.mktemp("meshes") / "posed" / "0002_RT_spread_000010_400001"
    write_mesh(stem, vertices.astype(np.float32), template)
    return stem, vertices.astype(np.float32)


def test_one_file_of_each_kind_in_a_new_folder(written):
    stem, _ = written
    names = sorted(path.name for path in stem.parent.iterdir())
    assert names == [f"{stem.name}.obj", f"{stem.name}.ply"]


def test_a_dot_in_the_name_is_kept(template, tmp_path):
    write_mesh(tmp_path / "seq.v2_000001", template.v_template, template)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "seq.v2_000001.obj",
        "seq.v2_000001.ply",
    ]


def test_ply_holds_the_geometry_in_mm(written, template):
    stem, vertices = written
    mesh = trimesh.load(stem.with_suffix(".ply"), process=False)
    np.testing.assert_allclose(mesh.vertices, vertices, atol=1e-4)
    np.testing.assert_array_equal(mesh.faces, template.faces)


def test_obj_holds_the_geometry_in_mm_and_texture_coordinates(written, template):
    """Vertices are split at seams of the texture by trimesh: corners are compared, not indices."""
    stem, vertices = written
    mesh = trimesh.load(stem.with_suffix(".obj"), process=False)
    np.testing.assert_allclose(mesh.triangles, vertices[template.faces], atol=1e-4)
    uv = mesh.visual.uv[mesh.faces]
    np.testing.assert_allclose(uv, template.uvs[template.faces_uv], atol=1e-6)
    assert np.ptp(uv.reshape(-1, 2), axis=0).min() > 0.1
