r"""LIBERO-90's refiner on 450 pairs of coarse and recorded actions, all else frozen.

    python -m vidact.train --config configs/libero90_refine.py --workdir=REFINED \
        --config.data.root=DIR --config.data.encoded=ENCODED --config.data.coarse=FILE \
        --config.init_from=RUN

FILE is what `vidact.sample --checkpoint RUN --write-coarse --count 450` wrote. With coarse actions
a batch trains the refiner alone, and neither stream is run. Then `vidact.evaluate --refine`.
"""

import ml_collections

from configs import libero90


def get_config() -> ml_collections.ConfigDict:
    """As configs/libero90.py; 450 pairs are seen 142 times."""
    config = libero90.get_config()
    config.train.update(freeze=("all-but-refiner",), steps=2000, batch_size=32, evaluate_every=500)
    config.optimizer.update(learning_rate=3e-4, warmup=100, schedule="cosine", scales=())
    config.optimizer.weight_decay = 0.01
    return config
