"""From evidence as it was written to what the fit takes, and back to hands."""

from collections.abc import Sequence

import numpy as np

from dhm.evidence.cameras import View
from dhm.evidence.files import MIN_JOINTS, NUM_POINTS, FrameEvidence, known_in_space
from dhm.export.hand_files import mirror_transform
from dhm.fitting.evidence import Evidence, no_evidence
from dhm.fitting.rig import HandPose

_MIRROR = np.array([-1.0, 1.0, 1.0])


def mirrored(frame: FrameEvidence) -> FrameEvidence:
    """Evidence of a left hand as that of a right one in the mirrored world (x -> -x).

    The pictures are mirrored as well, u -> -u, so that cameras stay cameras.
    """
    views = tuple(
        View(
            view.name,
            np.diag(_MIRROR) @ view.K @ np.diag(_MIRROR),
            mirror_transform(view.T_camera_world),
            view.keypoints * _MIRROR[:2],
            view.confidence,
            view.image,
        )
        for view in frame.views
    )
    start = frame.start and (frame.start[0], mirror_transform(frame.start[1]))
    return frame._replace(
        joints=frame.joints * _MIRROR,
        views=views,
        points=frame.points * _MIRROR,
        normals=frame.normals * _MIRROR,
        start=start,
    )


def seeing_views(frame: FrameEvidence) -> list[View]:
    """The cameras with keypoints, those that see most first."""
    seeing = [view for view in frame.views if (view.confidence > 0).any()]
    return sorted(seeing, key=lambda view: -view.confidence.sum())


def stack_evidence(frames: Sequence[FrameEvidence]) -> Evidence:
    """Right hands' frames as one batch; cameras and points are filled up with nothing."""
    num_joints = len(frames[0].joints)
    num_cameras = max(len(seeing_views(frame)) for frame in frames)
    num_points = NUM_POINTS if any(len(frame.points) for frame in frames) else 0
    batch = no_evidence(len(frames), num_joints, num_cameras, num_points)
    for i, frame in enumerate(frames):
        batch.joints[i], batch.joint_weight[i] = frame.joints, frame.confidence
        for c, view in enumerate(seeing_views(frame)):
            batch.keypoints[i, c], batch.keypoint_weight[i, c] = view.keypoints, view.confidence
            batch.camera.K[i, c] = view.K
            batch.camera.T_camera_world[i, c] = view.T_camera_world
        count = len(frame.points)
        batch.points[i, :count], batch.normals[i, :count] = frame.points, frame.normals
        batch.point_weight[i, :count] = 1
    return batch


def start_kind(frame: FrameEvidence) -> str:
    """Where the fit of a frame starts: "given", "space" or "view"."""
    if frame.start is not None:
        return "given"
    return "space" if known_in_space(frame) >= MIN_JOINTS else "view"


def stack_starts(frames: Sequence[FrameEvidence]) -> HandPose:
    """The starts that the frames have, as poses [b 1]; zeros for those that have none."""
    nothing = np.zeros(28), np.eye(4)
    theta, T = zip(*(frame.start or nothing for frame in frames), strict=True)
    poses = (np.stack(theta)[:, None], np.stack(T)[:, None], np.ones((len(frames), 1)))
    return HandPose(*(np.float32(x) for x in poses))
