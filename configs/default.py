"""Every setting with its unit and reason; the paper's values.

Other files in this folder start from `get_config()` here and override. On the command line:
`--config.train.batch_size=8`.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The paper's settings (section 7), for the first subject."""
    config = ConfigDict()

    # Folder of a capture or data set. Empty: the studio films a capture under data/.
    config.capture = ""
    # What that folder is: "release", the released capture's layout, or a data set of many people's
    # hands, "rhd", "freihand" or "interhand" (docs/datasets.md). Of these the trained decoder's
    # template names the joints, or the studio's where `decoder.trained` is empty.
    config.dataset = "release"
    # Number in the capture's subject_<S> folders; also the key of the identity code.
    config.subject = 1
    # Folder of the records. Empty: one under data/prepared/, named after the capture. Without a
    # capture it names records that exist; then subject and image_size have to be theirs.
    config.prepared = ""

    # What the built-in studio films where no capture is named; data_prep/studio/stage/settings.py.
    config.studio = ConfigDict()
    # Frames of its 40 training motions and of its 15 held-out gestures together. 0 training
    # frames: a toy capture instead, made in seconds.
    config.studio.frames = 3000
    config.studio.test_frames = 300
    # Thirtieths of a second from frame to frame: the longer, the more poses in as many frames.
    config.studio.frame_step = 5
    # Cameras on its dome, and how many of them take a picture of a frame (others in each).
    config.studio.cameras = 16
    config.studio.pictures = 8
    # Depth maps of "all" cameras, of the "pictured" ones or of "none"; 2: half the pictures' size.
    config.studio.depth_maps = "pictured"
    config.studio.depth_shrink = 1
    # Scans of "all" frames or of the "held_out" gestures, the only ones that are measured on.
    config.studio.scans = "held_out"
    # Edge of the grid that the skin is cut out of, mm.
    config.studio.resolution_mm = 1.5
    # Other backgrounds, lamps and tones of skin in every frame.
    config.studio.varied = False
    # Several of its people in one set of records, each with these frames. (): config.subject alone.
    config.studio.subjects = ()
    # Standard deviations of the depth sensor and of the joints, mm. 0: perfect ones.
    config.studio.depth_noise_mm = 0.0
    config.studio.joint_noise_mm = 0.0
    # "full" (12,500 vertices) or "coarse" (under 1,000) template.
    config.studio.template = "full"
    config.studio.seed = 0

    config.data = ConfigDict()
    # Side of the square crops, pixels: network input and depth maps (section 7: 256).
    config.data.image_size = 256
    # Regular expression for the names of held-out sequences (section 8.1: the conversational
    # gestures). Empty: nothing is held out and the evaluation runs on the training frames; of
    # data sets with a split of their own it is that one.
    # A config file may set a tuple of names instead, inside `with config.ignore_type():`.
    config.data.test_sequences = ""
    # Regular expression for the sequences to train on; empty: all that are not held out.
    config.data.train_sequences = ""

    config.encoder = ConfigDict()
    # Depth of the ResNet: 18, 34, 50, 101 or 152 (section 4.2: 50).
    config.encoder.depth = 50
    # Channels of its first stage; 64 is the published network, less only makes tests fast.
    config.encoder.width = 64
    # Hidden sizes of the pose head. Section 4.2: (512,); the released code: (512, 512).
    config.encoder.head_hidden = (512,)
    # ImageNet weights as a local .safetensors with torchvision's or timm's names (section 7).
    # Empty: random weights. With weights the input is normalised as they expect.
    config.encoder.weights = ""

    config.decoder = ConfigDict()
    # Length of the identity vector beta (section 5.1).
    config.decoder.identity_size = 32
    # Hidden size of the skeleton corrective. Section 5.1: 256; the released code: 64.
    config.decoder.skeleton_hidden = 256
    # Hidden size of the two per-vertex correctives (section 5.1).
    config.decoder.skin_hidden = 256
    # What the pose corrective sees: "enabled", the 28 angles (section 5.1), or "all", every
    # joint's Euler triple (the released code).
    config.decoder.pose_corrective_input = "enabled"
    # The correctives that are learned; an ablation leaves one out.
    config.decoder.correctives = ("skeleton", "identity", "pose")
    # Keep the pose corrective's gradient from the encoder (section 5.1); off for an ablation.
    config.decoder.stop_pose_gradient = True
    # "deephandmesh", or "linear": a fixed linear model as decoder, the baseline of section 8.3.
    config.decoder.kind = "deephandmesh"
    # An exported model, e.g. "runs/demo/export": its decoder stays as it is, and its sizes count
    # instead of those above. A new encoder learns alone, by L_pose with the targets' bone lengths
    # (section 8.4); of the losses only loss.joint counts, depth maps are not read. Empty: encoder
    # and decoder learn together.
    config.decoder.trained = ""
    # Config file of the run that makes that export where it is missing. Empty: none.
    config.decoder.trained_by = ""

    config.mano = ConfigDict()
    # The linear decoder: a MANO_RIGHT.pkl, whose licence is its owners'. Empty: the project's own
    # MANO-style linear model, learned from the studio's hands.
    config.mano.path = ""

    config.loss = ConfigDict()
    # Weights of the four terms of section 6. mm, mm, mm and mm^2.
    config.loss.joint = 1.0
    config.loss.depth = 1.0
    config.loss.penetration = 1.0
    config.loss.laplacian = 5.0  # lambda_lap
    # Weight of the fingertip-palm part within the penetration loss: lambda_nr.
    config.loss.non_rigid = 5.0
    # Holds the rest pose near the template's where the joints leave it open: a bone bent at rest or
    # by the pose look the same. 0: the paper.
    config.loss.skeleton = 0.1
    # "foreground": mean over the pixels that both depth maps see, delta_c in section 6; "image":
    # mean over all pixels, as released (about ten times weaker on a hand's crop).
    config.loss.depth_reduction = "foreground"
    # "mean" over pairs and spheres, as released, or "sum", as eq. 2-4 (each pair once, bones that
    # share a joint left out).
    config.loss.penetration_reduction = "mean"
    # Half width of the quadratic part of the depth loss, mm.
    config.loss.depth_beta = 1.0
    # Spheres of the thumb's base and the palm overlap at rest, by far more than fingers ever will.
    # "counts": that is penetration, as in eq. 2; "allowed": only what is beyond it.
    config.loss.rest_overlap = "counts"

    config.train = ConfigDict()
    # Seed of the weights, the order of the samples and the choice of views.
    config.train.seed = 0
    # Samples a step over all devices (section 7: 32, eight on each of four GPUs).
    config.train.batch_size = 32
    # Depth maps drawn a sample, C_out (section 7: 6).
    config.train.num_views = 6
    # How many samples of a batch are skinned and drawn, a divisor of it and at least one a device;
    # the others count by their joints alone, which saves most of the time where the encoder is
    # small. 0: all (the paper).
    config.train.mesh_samples = 0
    # The pose of these meshes: the "encoder"'s (the paper), or one that is "fitted" to the true
    # joints at every step. Depth maps then teach the decoder alone, free of the encoder's errors,
    # which would squeeze the fingertips of a run too short for a good encoder.
    config.train.mesh_pose = "encoder"
    # Numbers of the encoder's activations in training: "float32", "bfloat16", or "auto", which is
    # bfloat16 on an accelerator. Parameters, statistics and geometry are float32 in any case.
    config.train.encoder_dtype = "auto"
    # Passes over the training images (section 7: 35), in whole batches, at least one: a pass over
    # 100 images in batches of 32 is 3 steps, and the other 4 images open the next.
    config.train.epochs = 35
    # "adam" (section 7), or "muon" for the encoder's convolutions beside it: a small encoder that
    # starts from noise then needs half the steps. `muon_rate` is its learning rate, which rises
    # and falls with Adam's.
    config.train.optimiser = "adam"
    config.train.muon_rate = 0.02
    # Adam's learning rate. "drops": to a tenth at two epochs (section 7; they count from 0);
    # "cosine": along a half cosine to nothing at the end. Before it, steps of an even warm-up.
    config.train.learning_rate = 1e-4
    config.train.lr_decay = "drops"
    config.train.warmup_steps = 0
    config.train.lr_drop_epochs = (30, 32)
    config.train.lr_drop_factor = 0.1
    # Epochs between checkpoints, and how many of the newest are kept.
    config.train.checkpoint_every_epochs = 1
    config.train.keep_checkpoints = 3
    # Steps between two points in TensorBoard.
    config.train.log_every = 20

    # How far the input pictures of the training change, at most and to either side: not at all in
    # the paper. docs/datasets.md shows each.
    config.augment = ConfigDict()
    # Degrees about the ray through the crop's middle: a hand is seen from any side up.
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
    # Relative change of the distance to grey, and degrees of the colour circle: so does skin.
    config.augment.saturation = 0.0
    config.augment.hue_deg = 0.0
    # Pixels of the crop: standard deviation of a Gaussian blur (focus, upscaling), length of a
    # streak (motion).
    config.augment.blur_px = 0.0
    config.augment.motion_px = 0.0
    # Share of the pictures that go through a JPEG of quality 15 to 75, as videos do.
    config.augment.jpeg = 0.0
    # Side of a patch over the picture, as a share of the side: things in hands, other hands.
    config.augment.occlusion = 0.0
    # Share of the pictures that get another background, where a mask or a depth map tells the
    # hand from it; and a folder of pictures to take these (and the patches) from, of which up to
    # 200 are kept in memory. Empty: they are made up, of clouds, shapes and grain.
    config.augment.background = 0.0
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
