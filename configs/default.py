"""Every setting with its unit and reason.

Other files in this folder start from `get_config()` here and override; on the command line it is
`--config.train.batch_size=8`. The values are the paper's where the paper has one; `paper.py` and
`released.py` have what the paper and the authors' code do differently.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The settings of a personal hand model of subject 1."""
    config = ConfigDict()

    # Folder of a capture or data set. Empty: the studio films a capture under data/.
    config.capture = ""
    # Kind of that folder: "release", the layout of the released capture, or a data set of many
    # people's hands, "rhd", "freihand" or "interhand" (docs/datasets.md). A data set has no hand
    # model: the joints are those of the trained decoder's template, or of the studio's template
    # where `decoder.trained` is empty.
    config.dataset = "release"
    # Number in the capture's subject_<S> folders; also the key of the identity code.
    config.subject = 1
    # Folder of the prepared records. Empty: one under data/prepared/, named after the capture.
    # Without a capture it names records that exist, whose subject and image size have to be those
    # of the config.
    config.prepared = ""

    # The built-in studio, used if no capture is named; see data_prep/studio/stage/settings.py.
    config.studio = ConfigDict()
    # Frames of the 40 training motions and of the 15 held-out gestures. 0 training frames: a toy
    # capture instead, made in seconds.
    config.studio.frames = 3000
    config.studio.test_frames = 300
    # Thirtieths of a second between frames: the longer, the more poses in as many frames.
    config.studio.frame_step = 5
    # Cameras on the dome, and how many of them take a picture of a frame (others in each frame).
    config.studio.cameras = 16
    config.studio.pictures = 8
    # Depth maps of "all" cameras, of the "pictured" ones or of "none".
    config.studio.depth_maps = "pictured"
    # Pixels of a picture that a pixel of its depth map takes the side of: 1 or 2.
    config.studio.depth_shrink = 1
    # Scans of "all" frames or of the "held_out" gestures, the only ones that are evaluated.
    config.studio.scans = "held_out"
    # Edge of the grid that the skin is extracted from, mm.
    config.studio.resolution_mm = 1.5
    # Another background, other lamps and another tone of skin in every frame.
    config.studio.varied = False
    # Several subjects in one set of records, each with these frames. (): config.subject alone.
    config.studio.subjects = ()
    # Standard deviations of the noise of depth maps and of joints, mm.
    config.studio.depth_noise_mm = 0.0
    config.studio.joint_noise_mm = 0.0
    # "full" (12,500 vertices) or "coarse" (under 1,000) template.
    config.studio.template = "full"
    # Seed of motions, cameras, textures and noise.
    config.studio.seed = 0

    config.data = ConfigDict()
    # Side of the square crops, pixels: network input and depth maps (section 7: 256).
    config.data.image_size = 256
    # Regular expression for the names of held-out sequences (section 8.1: the conversational
    # gestures). Empty: the split of a data set that has one; otherwise nothing is held out, and
    # the evaluation runs on the training frames.
    # A config file may set a tuple of names instead, inside `with config.ignore_type():`.
    config.data.test_sequences = ""
    # Regular expression for the sequences to train on; empty: all that are not held out.
    config.data.train_sequences = ""

    config.encoder = ConfigDict()
    # Depth of the ResNet: 18, 34, 50, 101 or 152 (section 4.2: 50).
    config.encoder.depth = 50
    # Channels of its first stage; 64 is the published network, fewer make small, fast ones.
    config.encoder.width = 64
    # Hidden sizes of the pose head (section 4.2: one layer of 512).
    config.encoder.head_hidden = (512,)
    # ImageNet weights as a local .safetensors with torchvision's or timm's names (section 7).
    # Empty: random weights. With weights the input is normalised as they expect.
    config.encoder.weights = ""

    config.decoder = ConfigDict()
    # Hidden size of the skeleton corrective (section 5.1: 256).
    config.decoder.skeleton_hidden = 256
    # Hidden size of the identity and the pose corrective (section 5.1: 256).
    config.decoder.skin_hidden = 256
    # Input of the pose corrective: "enabled", the 28 angles (section 5.1), or "all", every joint's
    # Euler angles.
    config.decoder.pose_corrective_input = "enabled"
    # The correctives that are learned; an ablation leaves one out.
    config.decoder.correctives = ("skeleton", "identity", "pose")
    # Whether the pose corrective sends no gradient to the encoder (section 5.1); an ablation turns
    # it off.
    config.decoder.stop_pose_gradient = True
    # "deephandmesh", or "linear": a fixed linear model as decoder, the baseline of section 8.3.
    config.decoder.kind = "deephandmesh"
    # An exported model, e.g. "runs/demo/export". If one is named, an encoder alone is learned, for
    # general images (section 8.4): before the decoder of that model, which is kept as it is, by
    # the joint loss with the bone lengths of the targets. No depth map is read and no mesh drawn,
    # so that the sizes above, all losses but `loss.joint`, and `train.num_views`, `mesh_samples`
    # and `mesh_pose` have no effect: they are refused on the command line.
    config.decoder.trained = ""
    # Config file of the run that makes that export, if it is missing. Empty: none.
    config.decoder.trained_by = ""

    config.mano = ConfigDict()
    # File of the linear decoder: a MANO_RIGHT.pkl, which its owners license. Empty: the project's
    # own linear model, learned from the studio's hands.
    config.mano.path = ""

    config.loss = ConfigDict()
    # Weights of the four terms of section 6, in mm, mm, mm and mm^2.
    config.loss.joint = 1.0
    config.loss.depth = 1.0
    config.loss.penetration = 1.0
    config.loss.laplacian = 5.0  # lambda_lap
    # Weight of fingertips against the palm within the penetration loss: lambda_nr.
    config.loss.non_rigid = 5.0
    # Weight of the distance between the rest pose's bones and the template's, which the joints do
    # not determine: a bone bent at rest and one bent by the pose look the same. The paper: 0.
    config.loss.skeleton = 0.1
    # "foreground": mean over the pixels that both depth maps see, delta_c in section 6; "image":
    # mean over all pixels, which is about ten times less on a hand's crop.
    config.loss.depth_reduction = "foreground"
    # Reduction over pairs and spheres: "sum", as in eq. 2 to 4, or "mean".
    config.loss.penetration_reduction = "mean"
    # Spheres of the thumb's base and the palm overlap at zero pose, far more than fingers will.
    # "counts": that is penetration, as in eq. 2; "allowed": only what exceeds it is.
    config.loss.rest_overlap = "counts"

    config.train = ConfigDict()
    # Seed of the weights, the order of the samples and the choice of views.
    config.train.seed = 0
    # Samples a step over all devices (section 7: 32, eight on each of four GPUs).
    config.train.batch_size = 32
    # Depth maps drawn a sample, C_out (section 7: 6).
    config.train.num_views = 6
    # Samples of a batch that are skinned and drawn, a divisor of it and at least one a device; the
    # others count by their joints alone, which saves most of the time of a small encoder. 0: all
    # (the paper).
    config.train.mesh_samples = 0
    # Pose of these meshes: the "encoder"'s (the paper), or one that is "fitted" to the true joints
    # at every step. Depth maps then teach the decoder alone, free of the encoder's errors, which
    # would squeeze the fingertips of a run too short for a good encoder.
    config.train.mesh_pose = "encoder"
    # Type of the encoder's activations in training: "float32", "bfloat16", or "auto", which is
    # bfloat16 on an accelerator. Parameters, statistics and geometry are always float32.
    config.train.encoder_dtype = "auto"
    # Passes over the training images (section 7: 35), in whole batches, at least one: a pass over
    # 100 images in batches of 32 is 3 steps, and the other 4 images open the next.
    config.train.epochs = 35
    # "adam" (section 7), or "muon" for the encoder's convolutions beside it: a small encoder that
    # starts from random weights then needs half the steps.
    config.train.optimiser = "adam"
    # Adam's learning rate (section 7: 1e-4).
    config.train.learning_rate = 1e-4
    # "drops": to a tenth at each of `lr_drop_epochs`, counted from 0 (section 7: 30 and 32);
    # "cosine": along a half cosine to 0 at the end.
    config.train.lr_decay = "drops"
    config.train.lr_drop_epochs = (30, 32)
    # Steps over which the learning rate rises at the start.
    config.train.warmup_steps = 0
    # Epochs between checkpoints, and how many of the newest are kept.
    config.train.checkpoint_every_epochs = 1
    config.train.keep_checkpoints = 3
    # Steps between two points in TensorBoard.
    config.train.log_every = 20

    # Largest random changes of the training's input pictures, to either side; the paper has none.
    # docs/datasets.md shows each.
    config.augment = ConfigDict()
    # Degrees about the ray through the crop's centre.
    config.augment.rotation_deg = 0.0
    # Relative change of size, and shift as a share of the side: boxes are never exact.
    config.augment.scale = 0.0
    config.augment.shift = 0.0
    # Relative changes of brightness, of the distance to the mean grey, of the exponent of grey
    # levels and of each colour by itself: lamps and cameras differ.
    config.augment.brightness = 0.0
    config.augment.contrast = 0.0
    config.augment.gamma = 0.0
    config.augment.channel_gain = 0.0
    # Relative change of the distance to grey, and degrees of the colour circle: skin differs.
    config.augment.saturation = 0.0
    config.augment.hue_deg = 0.0
    # Pixels of the crop: standard deviation of a Gaussian blur (focus, upscaling), length of a
    # streak (motion).
    config.augment.blur_px = 0.0
    config.augment.motion_px = 0.0
    # Share of the pictures that are compressed as JPEG of quality 15 to 75, as in videos.
    config.augment.jpeg = 0.0
    # Side of a patch over the picture, as a share of the side: held things, other hands.
    config.augment.occlusion = 0.0
    # Share of the pictures that get another background, of those with a mask or a depth map.
    config.augment.background = 0.0
    # Folder of pictures to take backgrounds and patches from; up to 200 are kept in memory.
    # Empty: random clouds, shapes and grain.
    config.augment.backgrounds = ""

    config.input = ConfigDict()
    # Threads that read and decode records, and batches kept ready.
    config.input.num_threads = 8
    config.input.prefetch_batches = 4
    # Share of the training records that may be damaged; they are logged and passed over.
    config.input.damaged_share = 0.01

    config.eval = ConfigDict()
    # Samples a step of the evaluation.
    config.eval.batch_size = 32
    # M_err is measured on every n-th test image; 12,500 vertices take a tenth of a second.
    config.eval.mesh_stride = 1
    # Penetration, M_err of the visible skin and of bent and touching hands, on every n-th frame: a
    # second each. 0: not at all.
    config.eval.details_stride = 0

    config.export = ConfigDict()
    # Posed test meshes that the export writes.
    config.export.num_poses = 4

    config.profile = ConfigDict()
    # (first, last) training step of a JAX profiler trace, counted from 0; () writes none.
    config.profile.steps = ()

    return config
