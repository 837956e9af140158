"""Defaults of every experiment: all keys stand here, experiments change values."""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    """Every key with its default; unknown keys are refused."""
    config = ml_collections.ConfigDict()
    config.seed = 0
    config.overfit_one_batch = False
    config.init_from = ""  # a run, one of its checkpoints, an exported folder, imported weights
    config.mesh = ml_collections.ConfigDict(dict(data=-1, fsdp=1, tensor=1, context=1, rules=()))
    config.data = ml_collections.ConfigDict(
        dict(
            root="",  # KIND:DIR or DIR; of a mixture the folder that holds its data sets
            sources=(),  # instead of root: (KIND:DIR, weight) or with a dictionary of its own keys
            mixture="",  # instead of both: a name of python -m data_pipelines.oxe
            balance=True,  # probability = weight x windows; False: weight alone
            registry="",  # a row of the registry, or "auto" by the folder's name; "": keys below
            cameras=(
                "primary|secondary|wrist",
            ),  # with a row: a tile each, the first that is there
            blank_uninformative=False,  # texts that say nothing of the task become empty, as octo's
            split="train",
            image_key="observation/image",
            further_image_keys=(),
            tiles=(1, 1),  # rows, columns; the cameras fill them in reading order
            state_key="observation/state",
            action_key="action",
            instruction_key="language_instruction",
            deltas=(-1,),  # columns of the action that are displacements; (-1,): nobody says
            action_order=(),  # columns of the action in the order wanted; () for all as they come
            gripper=-1,  # column of the action that normalising leaves alone; -1: none
            frames=9,
            history=0,  # frames before the first
            resolution=(64, 64),
            fit="stretch",  # to resolution; or crop, pad
            turned=False,  # frames have their lowest row first: LIBERO's own HDF5 files
            buckets=(),  # (frames, height, width), ... instead of one shape
            fps=20.0,  # common rate; 0 keeps each data set's own
            held_out=0.05,
            normalisation="q01_q99",
            statistics="measured",  # or published: the field's, of actions, for rows that have them
            augment=ml_collections.ConfigDict(
                dict(zoom=1.0, brightness=0.0, contrast=0.0, saturation=0.0)
            ),
            on_bad_record="error",  # or skip
            max_words=16,
            vocabulary=1024,
            encoded="",
            coarse="",
            cache_mb=512,
            threads=2,
        )
    )
    config.encoder = ml_collections.ConfigDict(
        dict(
            kind="linear",
            patch=8,
            frames=4,
            channels=24,
            clips=256,
            blind=False,
            weights="",
            sample=False,
            text="words",
            text_weights="",
            tokenizer="",
            dtype="float32",
            stride=1,
        )
    )
    config.model = ml_collections.ConfigDict(
        dict(
            family="covar",
            depth=3,
            video_width=128,
            video_heads=4,
            action_width=128,
            action_heads=4,
            bridge_width=128,
            bridge_heads=4,
            bridge_kind="bridge",
            bridge_every=1,
            bridge_matched=False,
            visibility="joint",
            mlp_ratio=4.0,
            patch=2,
            latent_channels=24,
            latent_frames=4,
            latent_chunk=0,
            action_dim=4,
            state_dim=4,
            text_width=64,
            text_depth=1,
            vocabulary=1024,
            max_words=16,
            text_dropout=0.0,
            decoder="unet",
            decoder_channels=(64, 128),
            refiner_depth=0,
            refiner_width=128,
            refiner_heads=4,
            imagine=True,
            order="together",
            learn_sigma=False,
            times="independent",
            time_shift=1.0,  # of the video's times; 0 = Open-Sora's for each clip's size
            mode_share=0.5,
            policy_share=0.5,
            lora_rank=0,  # 0 = no LoRA beside the video branch
            lora_alpha=16.0,
            dtype="float32",
            remat="none",
            unroll=3,
        )
    )
    config.optimizer = ml_collections.ConfigDict(
        dict(
            kind="adamw",
            learning_rate=1e-3,
            warmup=100,
            schedule="cosine",
            final=0.25,
            clip=1.0,
            b1=0.9,
            b2=0.99,
            eps=1e-8,
            weight_decay=0.0,
            scales=(),
        )
    )
    config.train = ml_collections.ConfigDict(
        dict(
            steps=1800,
            batch_size=32,
            microbatches=1,  # a batch in so many parts, one after the other
            loss_weights=dict(video=1.0, action=1.0, refiner=1.0),
            ema=0.995,
            freeze=(),  # patterns of paths, or names of vidact.training.state.PRESETS
            frozen_dtype="float32",  # of the kernels that `freeze` keeps; or bfloat16
            spike=10.0,  # steps with a loss or gradient so many times the usual are skipped; 0 = no
            stop_after_skipped=10,  # in a row
            log_every=50,
            evaluate_every=400,
            checkpoint_every=400,
            keep=2,  # newest checkpoints
            keep_every=0,  # and for ever those of multiples of so many steps; 0 = none
            keep_best=0,  # and so many of the least held-out loss
            picture_every=0,  # steps between sampled pictures of held-out windows; 0 = never
            wandb="",  # project at Weights & Biases, which the extra wandb installs; "" = none
            profile=(),  # first and last step that the profiler records
            trace=False,
            compile_cache="",  # folder of compiled programs; "": WORKDIR/programs; none: no cache
            agree_every=1000,  # steps between checks that all processes do the same; 0 = never
        )
    )
    config.demos = ml_collections.ConfigDict(
        dict(
            tasks=("drawer-open", "window-open", "button-press"),
            starts="wide",
            episodes=200,  # a task
            seed=0,  # of the first episode
        )
    )
    config.evaluate = ml_collections.ConfigDict(
        dict(
            tasks=("drawer-open", "window-open", "button-press"),
            starts="wide",
            rollouts=60,
            execute=3,
            mode="policy",
            steps=2,
            sample_steps=30,
            action_steps=0,
            video_guidance=1.0,
            action_guidance=1.0,
            clips=64,
            data_set="",  # of several, the one whose robot is meant
            seed=0,
        )
    )
    return config
