"""CoVAR in four sizes on stored latents of Open-Sora's VAE and embeddings of T5.

    python -m vidact.train --config configs/covar.py:small --describe

The paper (2512.16023) publishes 35 frames, 30 steps and about 1.4 B parameters, of which 1.2 B are
STDiT3's. Widths of the rest, optimizer, times and loss weights are ours: docs/covar.md gives the
reasons.
"""

import ml_collections

from configs import base

# depth, then (width, heads) of video, action, bridge and refiner, the refiner's depth, the decoder.
SIZES = {
    "tiny": (2, (64, 2), (32, 2), (32, 2), (32, 2), 1, (64,)),
    "small": (8, (256, 8), (128, 4), (192, 6), (256, 4), 2, (128, 256)),
    "base": (12, (512, 8), (256, 8), (256, 8), (384, 6), 4, (256, 512)),
    "1b4": (28, (1152, 16), (512, 8), (512, 8), (512, 8), 4, (256, 512)),
}
CHOICES = tuple(SIZES)


def get_config(size: str) -> ml_collections.ConfigDict:
    """The model of one size at the paper's real-robot setting: 35 frames of 180 x 320."""
    config = base.get_config()
    config.data.update(frames=35, resolution=(180, 320), fps=10.0, max_words=300)
    config.encoder.update(kind="opensora-vae", frames=4, channels=4, text="t5", dtype="bfloat16")
    depth, video, action, bridge, refiner, refiner_depth, decoder = SIZES[size]
    streams = dict(video=video, action=action, bridge=bridge, refiner=refiner)
    for name, (width, heads) in streams.items():
        config.model.update({f"{name}_width": width, f"{name}_heads": heads})
    config.model.update(
        depth=depth,
        unroll=1,
        refiner_depth=refiner_depth,
        decoder_channels=decoder,
        latent_channels=4,
        latent_chunk=17,
        action_dim=7,
        state_dim=7,
        text_width=4096,
        text_depth=0,
        max_words=300,
        text_dropout=0.1,
        learn_sigma=True,  # as the released weights have it
        times="logit_beta",
        time_shift=0.0,  # Open-Sora's for the clips' sizes
        mode_share=0.25,
        dtype="float32" if size == "tiny" else "bfloat16",  # CPUs emulate bfloat16
        remat="full",
    )
    config.mesh.fsdp = -1
    config.optimizer.update(
        learning_rate=1e-4,
        warmup=1000,
        schedule="constant",
        b2=0.999,
        eps=1e-15,
        scales=(("^video/", 0.2),),
    )
    config.train.update(
        steps=40_000,
        batch_size=64,
        ema=0.9995,
        freeze=("^refiner/",),  # trained afterwards: configs/libero90_refine.py
        checkpoint_every=1000,
        evaluate_every=1000,
    )
    config.evaluate.update(tasks=(), mode="joint", steps=30, execute=34)
    return config
