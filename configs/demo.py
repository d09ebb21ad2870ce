"""Subject 1 on a laptop: filmed, prepared, trained, measured and exported on two cores."""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """The whole job on two cores: 64x64 crops, a small network, many fast steps."""
    config = default.get_config()
    config.studio.frames = 1450
    config.studio.test_frames = 45
    config.studio.frame_step = 10
    config.studio.pictures = 3
    config.studio.depth_shrink = 2
    config.studio.resolution_mm = 2.5
    config.data.image_size = 64
    config.encoder.depth = 18
    config.encoder.width = 24
    config.decoder.skin_hidden = 64
    # A pixel of so small a depth map covers several vertices; with the paper's 5 single rows of
    # them stand out like fins behind the knuckles.
    config.loss.laplacian = 40.0
    # All but a fiftieth of the spheres' overlap is there at rest, and the mean over all pairs of
    # spheres is small. The non-rigid part keeps its weight: 100 * 0.05 = 5.
    config.loss.rest_overlap = "allowed"
    config.loss.penetration = 100.0
    config.loss.non_rigid = 0.05
    config.train.num_views = 1
    # The encoder learns from joints far longer than the decoder needs depth maps.
    config.train.mesh_samples = 1
    config.train.mesh_pose = "fitted"
    config.train.epochs = 9
    config.train.optimiser = "muon"
    config.train.learning_rate = 2e-3
    config.train.lr_decay = "cosine"
    config.train.warmup_steps = 60
    config.train.checkpoint_every_epochs = 2
    config.eval.mesh_stride = 5
    config.augment.rotation_deg = 10.0
    config.augment.scale = 0.05
    config.augment.shift = 0.02
    config.augment.brightness = 0.1
    config.input.num_threads = 2
    return config
