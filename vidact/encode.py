r"""Stores a data set's video latents and text embeddings, which training then reads.

Examples:
  python -m vidact.encode --config configs/covar_1b4.py --out encoded --config.data.root=DIR \
      --config.encoder.weights=weights/vae --config.encoder.text_weights=weights/t5 \
      --config.encoder.tokenizer=t5-v1_1-xxl
  python -m vidact.encode --config configs/quickstart.py --out encoded --config.data.root=DIR

Every window of config.data.frames frames whose start is a multiple of config.encoder.stride is
encoded, its first frame also alone, and every instruction once. Batches are divided over this
process's devices, files over processes. Run the same command again after a kill: files that are
there are kept. Train with --config.data.encoded=OUT; neither codec nor text encoder is in memory
then. What may differ then from the settings here: folders, cache and threads.
"""

import argparse
import dataclasses
import json
import math
import os
import pathlib

import jax
import ml_collections
import numpy as np
from tqdm import tqdm

from data_pipelines import encoded, pipeline, sidecars
from data_pipelines.encoded import Encoded
from data_pipelines.pipeline import WindowDataset
from vidact import command, store
from vidact.encoders.encode import encode
from vidact.encoders.text import reader
from vidact.encoders.video import linear
from vidact.encoders.video.codec import VideoCodec, open_codec
from vidact.errors import UserError
from vidact.interop import init_from
from vidact.training import checks, prepare, runs, sharding

DTYPES = ("float16", "float32")
TEXTS = 8  # embedded at once


def main(arguments: list[str]) -> None:
    """Runs the command.

    Raises:
      UserError: the data, the weights or the folder do not do.
    """
    options, overrides = _parser().parse_known_args(arguments)
    config = command.override(command.load_config(options.config), overrides)
    command.check_data(config)
    if min(options.batch, options.per_file) < 1:
        raise UserError("--batch and --per-file: must be at least 1")
    config.data.encoded = ""
    checks.check_sizes(config)
    command.check_writable(options.out)
    dataset = _all_windows(config)
    checks.check_data(config, dataset.source.name, dataset.widths)
    found = describe(config, dataset, options)
    codec = prepare_codec(config, dataset, found)
    write_texts(config, dataset, found)
    write_windows(dataset, codec, found, options)
    print(f"encoded {len(dataset)} windows to {options.out}")


def _all_windows(config: ml_collections.ConfigDict) -> WindowDataset:
    """The windows of all episodes, training and held-out, in order."""
    data = config.data.copy_and_resolve_references()
    data.held_out = 0.0
    dataset = pipeline.make_dataset(data, seed=0, batch_size=1)
    every = dataset.windows.all()
    kept = np.flatnonzero(every.starts % config.encoder.stride == 0)
    return dataclasses.replace(dataset, windows=every.at(kept))


def describe(
    config: ml_collections.ConfigDict, dataset: WindowDataset, options: argparse.Namespace
) -> Encoded:
    """Writes encoded.json, or checks the one of an earlier call.

    Raises:
      UserError: the folder was begun with other settings.
    """
    told = {
        "settings": encoded.settings(config),
        "data_set": dataset.source.fingerprint,
        "identities": runs.encoders_of(config),
        "stride": config.encoder.stride,
        "dtype": options.dtype,
        "per_file": options.per_file,
        "windows": len(dataset),
        "files": math.ceil(len(dataset) / options.per_file),
        "instructions": [] if config.encoder.text == "words" else instructions(dataset),
    }
    folder = pathlib.Path(options.out)
    if (folder / encoded.DESCRIPTION).is_file():
        found = encoded.read(folder)
        encoded.check(found, config, dataset.source.fingerprint)
        difference = runs.first_difference(dict(found.told), told, "encoded.json")
        if difference:
            raise UserError(f"{folder}: was begun differently: {difference}; choose another --out")
        return found
    if jax.process_index() == 0:
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{encoded.DESCRIPTION}.partial"
        partial.write_text(json.dumps(told, indent=1) + "\n")
        os.replace(partial, folder / encoded.DESCRIPTION)
    return Encoded(folder, told)


def instructions(dataset: WindowDataset) -> list[str]:
    """Every instruction of the data set and the empty one, sorted."""
    found = {""}
    for index in tqdm(range(len(dataset.source)), desc="reading instructions", unit="episode"):
        found |= set(dataset.source.episode(index).instructions)
    return sorted(found)


def prepare_codec(
    config: ml_collections.ConfigDict, dataset: WindowDataset, found: Encoded
) -> VideoCodec:
    """The codec; without published weights that of `config.init_from`, or one fitted to the data.

    It is kept beside the latents.
    """
    if config.encoder.kind != "linear" or found.codec.is_file():
        return open_codec(config, found.codec)
    codec = init_from.start(config).codec if config.init_from else None
    if codec is None:
        train = pipeline.make_dataset(config.data, seed=0, batch_size=1, source=dataset.source)
        codec = prepare.fit_codec(config.encoder, train)
    if jax.process_index() == 0:
        partial = found.codec.with_name(f".{found.codec.name}.partial")
        linear.save(codec, partial)
        os.replace(partial, found.codec)
    return codec


def write_texts(config: ml_collections.ConfigDict, dataset: WindowDataset, found: Encoded) -> None:
    """Embeds the instructions, unless they are there or the model reads words."""
    path, texts = found.folder / encoded.TEXTS, found.told["instructions"]
    if not texts or path.is_file() or jax.process_index() != 0:
        return
    network = reader.Network(config.encoder, config.data.max_words)
    arrays: dict[str, np.ndarray] = {}
    for begin in tqdm(range(0, len(texts), TEXTS), desc="embedding", unit="batch"):
        some = texts[begin : begin + TEXTS]
        for text, rows in zip(some, network.embed(some), strict=True):
            what = f"embedding of {text!r}"
            arrays[str(len(arrays))] = narrowed(rows, found.told["dtype"], what)
    width = arrays["0"].shape[1]
    if width != config.model.text_width:
        raise UserError(
            f"config.model.text_width={config.model.text_width}: the text encoder's width is "
            f"{width}; set that"
        )
    store.save(path, arrays)


def write_windows(
    dataset: WindowDataset, codec: VideoCodec, found: Encoded, options: argparse.Namespace
) -> None:
    """Encodes this process's files that are not there yet."""
    todo = [
        (number, path)
        for number, path in enumerate(encoded.files(found))
        if number % jax.process_count() == jax.process_index() and not path.is_file()
    ]
    alone = ml_collections.ConfigDict(dict(data=-1, fsdp=1, tensor=1, context=1))
    mesh = sharding.make_mesh(alone, jax.local_devices())
    split = jax.NamedSharding(mesh, sharding.BATCH)
    size = math.ceil(options.batch / mesh.size) * mesh.size
    codec = jax.device_put(codec, jax.NamedSharding(mesh, jax.P()))
    run = jax.jit(sharding.traced_for(mesh, encode))
    total = sum(len(_rows(dataset, number, options.per_file)) for number, _ in todo)
    with tqdm(total=total, desc="encoding", unit="window") as bar:
        for number, path in todo:
            rows, parts = _rows(dataset, number, options.per_file), []
            for begin in range(0, len(rows), size):
                mine = rows[begin : begin + size]
                batch = dataset.load(np.resize(mine, size)).as_dict()  # the last one wraps
                key = jax.random.fold_in(jax.random.key(0), int(rows[0]) + begin)
                inputs = run(codec, jax.device_put(batch, split), key)
                names = ("latents", "condition", "latent_mask")
                parts.append([np.asarray(getattr(inputs, name))[: len(mine)] for name in names])
                bar.update(len(mine))
            latents, condition, mask = map(np.concatenate, zip(*parts, strict=True))
            kind = found.told["dtype"]
            fields = {
                "latents": narrowed(latents, kind, "latents"),
                "condition": narrowed(condition, kind, "latents"),
                "latent_mask": mask,
            }
            some = dataset.windows.at(rows)
            sidecars.write(path, some, fields)


def _rows(dataset: WindowDataset, number: int, per_file: int) -> np.ndarray:
    return np.arange(number * per_file, min((number + 1) * per_file, len(dataset)))


def narrowed(array: np.ndarray, dtype: str, what: str) -> np.ndarray:
    """The array in the stored dtype.

    Raises:
      UserError: a value is not finite there.
    """
    with np.errstate(over="ignore"):
        result = array.astype(dtype)
    if not np.isfinite(result).all():
        raise UserError(f"{what}: not finite in {dtype}; use --dtype float32, or check the weights")
    return result


def _parser() -> argparse.ArgumentParser:
    parser = command.parser(__doc__, "python -m vidact.encode")
    parser.add_argument("--config", required=True, help="a file of configs/")
    parser.add_argument("--out", required=True, help="the folder to write, or to go on with")
    parser.add_argument("--batch", type=int, default=8, help="windows at a time; %(default)s")
    parser.add_argument("--per-file", type=int, default=1024, help="windows; %(default)s")
    parser.add_argument("--dtype", choices=DTYPES, default="float16", help="%(default)s")
    return parser


if __name__ == "__main__":
    command.run(main)
