"""The page of an ablation; one finished run stands for all of its variants and people."""

import base64
import shutil

import pytest

from data_prep import sources
from dhm.errors import BadInputError
from dhm.formats.picture import decode_picture
from dhm.report.pictures import TILE
from dhm.studies.ablation.figures import write_ablation_page
from dhm.studies.ablation.tables import Findings, Table
from dhm.studies.ablation.variants import VARIANTS, run_name
from tests.report.html import read

pytestmark = pytest.mark.slow

CHOSEN, PEOPLE = ("full", "no_penetration"), (1, 2)
NASTY = "<script>alert('x')</script>"
FINDINGS = Findings([Table("A table", ["", "P_err"], [[NASTY, "1.25 ± 0.50"]])], ["A claim: seen."])


@pytest.fixture(scope="module")
def runs(finished, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablation")
    for variant in CHOSEN:
        for subject in PEOPLE:
            (folder / run_name(variant, subject, 0)).symlink_to(finished)
    return folder


@pytest.fixture(scope="module")
def page(runs):
    return read(write_ablation_page(runs, FINDINGS, sources, variants=CHOSEN, subjects=PEOPLE))


def test_tables_and_claims_are_shown_as_text(page):
    assert "1.25 ± 0.50" in page.text and "A claim: seen." in page.text and NASTY in page.text
    assert not page.all("script")


def test_a_row_has_every_variant_and_the_scan_from_one_camera(page):
    """The variants are one model here: their pictures are the same, so are camera and light."""
    titles = [VARIANTS[name].title for name in ("no_penetration", "full")]
    columns = [[p for p in page.all("img") if p["alt"].startswith(f"{t}: ")] for t in titles]
    # Of two people the one held-out sequence.
    assert len(columns[0]) == len(columns[1]) == len(PEOPLE)
    for without, kept in zip(*columns, strict=True):
        assert without["src"] == kept["src"]
        error = float(without["alt"].split(": ")[1].split()[0])
        assert 0.1 < error < 100
    assert len([p for p in page.all("img") if p["alt"].startswith("The scan of ")]) == len(PEOPLE)
    assert "(figure 6, right, and figure 7)" in page.text
    assert "linear" not in page.text  # was not among the variants


def test_the_hands_at_zero_pose_stand_side_by_side(page):
    shown = [p for p in page.all("img") if p["alt"].endswith("back and palm")]
    assert [p["alt"].split(",")[0] for p in shown] == ["The template", "Subject 1", "Subject 2"]
    template, one, two = (
        decode_picture(base64.b64decode(p["src"].split(",", 1)[1])) for p in shown
    )
    assert template.shape == (2 * TILE, TILE, 3)
    assert (one == two).all() and (one != template).any()
    for side in (one[:TILE], one[TILE:]):
        hand = side.max(axis=-1) > 90
        assert 0.05 < hand.mean() < 0.6
        # All of it is in the picture; the fingers point up, so that the wrist is the lowest.
        assert not hand[0].any() and not hand[:, 0].any() and not hand[:, -1].any()


def test_a_run_with_missing_data_is_refused_by_name(finished, tmp_path):
    run = tmp_path / run_name("full", 1, 0)
    shutil.copytree(finished, run)
    text = (run / "metrics.json").read_text()
    (run / "metrics.json").write_text(text.replace("prepared", "vanished"))
    with pytest.raises(BadInputError, match=r"full_subject1_seed0.*are gone: .*vanished"):
        write_ablation_page(tmp_path, FINDINGS, sources, variants=("full",), subjects=(1,))
