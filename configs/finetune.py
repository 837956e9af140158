r"""The paper's model on 400 demonstrations of one robot, on one GPU or one TPU host.

    python -m vidact.train --config configs/finetune.py --describe
    python -m vidact.train --config configs/finetune.py --config.data.root=DIR \
        --config.data.encoded=ENCODED --config.init_from=START --workdir=RUN

START is a run of configs/covar_1b4.py, or STDiT3's imported weights. The video branch is frozen and
learns by LoRA; actions, bridges and decoder train in full. docs/finetuning.md says why each number.
"""

import ml_collections

from configs import covar


def get_config() -> ml_collections.ConfigDict:
    """As configs/covar_1b4.py, with a hundred times less to train in the video branch."""
    config = covar.get_config("1b4")
    config.model.update(lora_rank=32, lora_alpha=32.0)
    config.train.update(
        freeze=("video-branch", "^refiner/"),
        frozen_dtype="bfloat16",
        steps=10_000,
        batch_size=32,
        microbatches=4,
        ema=0.999,
        checkpoint_every=500,
        evaluate_every=500,
        keep=1,
        keep_best=2,
    )
    config.optimizer.update(warmup=500, schedule="cosine", final=0.1, scales=())
    return config
