"""The commands that apply a trained model: predict and fit."""

from argparse import Namespace
from contextlib import ExitStack, closing

from dhm.cli.flags import Command, UsageError
from dhm.cli.process import keep_compiled_programs


def _require(arguments: Namespace, *flags: str) -> None:
    for flag in flags:
        if getattr(arguments, flag.removeprefix("--")) is None:
            raise UsageError(f"{flag} is missing")


def _side(arguments: Namespace) -> str | None:
    if arguments.left and arguments.right:
        raise UsageError("--left and --right exclude each other")
    return "left" if arguments.left else "right" if arguments.right else None


def _predict(arguments: Namespace) -> int:
    _require(arguments, "--workdir", "--images", "--out")
    from dhm.photos.detectors import MediapipeDetector
    from dhm.photos.locate import parse_bbox
    from dhm.photos.predict import PredictOptions, predict

    if arguments.workdir.is_dir():  # of a mistyped one nothing is made
        keep_compiled_programs(arguments.workdir)
    options = PredictOptions(
        bbox=arguments.bbox and parse_bbox(arguments.bbox),
        keypoints=arguments.keypoints,
        side=_side(arguments),
        focal_px=arguments.focal,
        mesh_every=arguments.mesh_every,
        refine=arguments.refine,
        meshes=arguments.meshes,
        overlay=arguments.overlay,
    )
    files = [*arguments.images, *arguments.words]
    with ExitStack() as stack:
        if arguments.detector:
            detector = stack.enter_context(closing(MediapipeDetector(arguments.detector)))
            options = options._replace(detector=detector)
        return 1 if predict(arguments.workdir, files, arguments.out, options) else 0


def _fit(arguments: Namespace) -> int:
    _require(arguments, "--workdir", "--evidence", "--out")
    from dhm.evidence.fit import fit
    from dhm.evidence.input_files import find_files

    if arguments.workdir.is_dir():
        keep_compiled_programs(arguments.workdir)
    files = find_files("--evidence", [*arguments.evidence, *arguments.words])
    return 1 if fit(arguments.workdir, files, arguments.out, arguments.left) else 0


_REFUSED = "What cannot be used is named with the reason, and the exit code is then 1."

HAND_COMMANDS = {
    "predict": Command(
        "predict the hands of photos and videos",
        "Predicts the hand of each picture and video: mesh, joints, angles and an overlay. "
        "--bbox, --keypoints or --detector says where the hands are. " + _REFUSED,
        _predict,
        ("--workdir", "--images", "--out", "--bbox", "--keypoints", "--detector", "--left",
         "--right", "--focal", "--refine", "--mesh-every", "--no-meshes", "--no-overlay"),
        extra="photo",
        words=("FILE", "more pictures and videos"),
        workdir="folder of the run, which was exported",
    ),
    "fit": Command(
        "fit a hand to joints, keypoints, depth maps or scans",
        "Fits the trained hand to each file of evidence (docs/fitting.md): mesh, joints, angles. "
        + _REFUSED,
        _fit,
        ("--workdir", "--evidence", "--out", "--left"),
        extra="photo",
        words=("FILE", "more files of evidence"),
        workdir="folder of the run, which was exported",
    ),
}  # fmt: skip
