r"""Stores a data set's video latents and text embeddings, which training then reads.

Examples:
  python -m vidact.encode --config configs/covar_1b4.py --out encoded --config.data.root=DIR \
      --config.encoder.weights=weights/vae --config.encoder.text_weights=weights/t5 \
      --config.encoder.tokenizer=t5-v1_1-xxl
  python -m vidact.encode --config configs/quickstart.py --out encoded --config.data.root=DIR
  python -m vidact.encode --config configs/quickstart.py --out encoded --config.data.root=DIR \
      --coordinator HOST:PORT --processes 2 --process 0   # and the same with --process 1

Every window of config.data.frames frames whose start is a multiple of config.encoder.stride is
encoded, its first frame also alone, and every instruction once. With config.data.on_bad_record=skip
windows that cannot be read are left out, and OUT/bad_records.txt says why. Batches are divided over
a process's devices, files over processes, which find each other as those of vidact.train do and all
see OUT. Run the same command again after a kill: files that are there are kept; other settings are
refused. Train with --config.data.encoded=OUT and the settings of here, of which folders, cache and
threads may differ; neither codec nor text encoder is in memory then.
"""

import argparse
import dataclasses
import json
import math
import pathlib
import signal

import ml_collections
import numpy as np
from tqdm import tqdm

from data_pipelines import encoded, left_out, pipeline
from data_pipelines.bad_records import BadRecords
from data_pipelines.encoded import Encoded
from data_pipelines.pipeline import WindowDataset
from vidact import command, store, whole
from vidact.encoders.text import reader
from vidact.encoders.video import linear
from vidact.encoders.video.codec import VideoCodec, open_codec
from vidact.errors import UserError
from vidact.interop import init_from
from vidact.training import checks, distributed, encoding, prepare, runs, settings

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
    if config.data.buckets:
        raise UserError("config.data.buckets: stored latents have one shape; leave buckets empty")
    encoder = config.encoder
    if encoder.text != "words" and not (encoder.text_weights and encoder.tokenizer):
        raise UserError(
            f"config.encoder.text={encoder.text!r}: nothing embeds the instructions; set "
            "config.encoder.text_weights and config.encoder.tokenizer"
        )
    if min(options.batch, options.per_file) < 1:
        raise UserError("--batch and --per-file: must be at least 1")
    config.data.encoded = ""
    checks.check_sizes(config)
    command.check_writable(options.out)
    with distributed.joined(options.coordinator, options.processes, options.process):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # JAX listens, for training to ask it
        # On CPU the first collective waits half a minute for the others, later ones for long.
        distributed.wait("all are here")
        _run(config, options)


def _run(config: ml_collections.ConfigDict, options: argparse.Namespace) -> None:
    dataset = _all_windows(config)
    checks.check_data(config, dataset.source.name, dataset.widths)
    published = config.encoder.kind != "linear"
    # Before the folder is begun: it would hold on to a mistake in the weights.
    codec = open_codec(config, pathlib.Path()) if published else None
    found = describe(config, dataset, options)
    codec = codec or prepare_codec(config, dataset, found)
    write_texts(config, found)
    encoding.write(dataset, codec, found, options.batch)
    distributed.wait("all files are written")
    if distributed.is_first():
        _conclude(found, dataset.bad)


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
    folder = pathlib.Path(options.out)
    told = {
        "settings": encoded.settings(config),
        "data_set": dataset.source.fingerprint,
        "identities": runs.encoders_of(config),
        "computed_in": config.encoder.dtype,
        "stride": config.encoder.stride,
        "dtype": options.dtype,
        "per_file": options.per_file,
        "windows": len(dataset),
        "files": math.ceil(len(dataset) / options.per_file),
    }
    if distributed.is_first() and not (folder / encoded.DESCRIPTION).is_file():
        texts = [] if config.encoder.text == "words" else instructions(dataset)
        text = json.dumps(told | {"instructions": texts}, indent=1)
        whole.write(folder / encoded.DESCRIPTION, text + "\n")
    distributed.wait("encoded.json is written")
    found = encoded.read(folder)
    encoded.check(found, config, dataset.source.fingerprint)
    then = {name: found.told.get(name) for name in told}
    difference = settings.first_difference(then, told, "encoded.json")
    if difference:
        raise UserError(f"{folder}: was begun differently: {difference}; choose another --out")
    return found


def instructions(dataset: WindowDataset) -> list[str]:
    """Every instruction of the data set's readable episodes and the empty one, sorted."""
    found, bad = {""}, BadRecords(dataset.bad.policy)
    for index in tqdm(range(len(dataset.source)), desc="reading instructions", unit="episode"):
        try:
            found |= set(dataset.source.episode(index).instructions)
        except UserError as error:  # its windows will be left out, with the reason
            bad.note(error)
    return sorted(found)


def prepare_codec(
    config: ml_collections.ConfigDict, dataset: WindowDataset, found: Encoded
) -> VideoCodec:
    """A linear codec, kept beside the latents: that of `config.init_from`, or fitted to the data.

    Raises:
      UserError: it cannot be read, or another codec lies beside the latents.
    """
    if distributed.is_first():
        _keep_codec(config, dataset, found)
    distributed.wait("the codec is written")
    return linear.load(found.codec)


def _keep_codec(config: ml_collections.ConfigDict, dataset: WindowDataset, found: Encoded) -> None:
    given = init_from.start(config).codec if config.init_from else None
    train = pipeline.make_dataset(config.data, seed=0, batch_size=1, source=dataset.source)
    stored = found if found.codec.is_file() else None
    codec = prepare.first_codec(config, train, given, stored)
    assert codec is not None, "the encoder is linear"
    if stored is None:
        linear.save(codec, found.codec)


def write_texts(config: ml_collections.ConfigDict, found: Encoded) -> None:
    """Embeds the instructions, unless they are there or the model reads words."""
    if encoded.has_texts(found) or not distributed.is_first():
        return
    texts = found.told["instructions"]
    network = reader.Network(config.encoder, config.data.max_words)
    arrays: dict[str, np.ndarray] = {}
    for begin in tqdm(range(0, len(texts), TEXTS), desc="embedding", unit="batch"):
        some = texts[begin : begin + TEXTS]
        for text, rows in zip(some, network.embed(some), strict=True):
            what = f"embedding of {text!r}"
            arrays[str(len(arrays))] = encoding.narrowed(rows, found.told["dtype"], what)
    width = arrays["0"].shape[1]
    if width != config.model.text_width:
        raise UserError(
            f"config.model.text_width={config.model.text_width}: the text encoder's width is "
            f"{width}; set that"
        )
    store.save(found.folder / encoded.TEXTS, arrays)


def _conclude(found: Encoded, bad: BadRecords) -> None:
    """Checks that all is there, and says what is not since it cannot be read."""
    stored = encoded.latents(found)
    print(f"encoded {len(stored.windows)} windows to {found.folder}")
    left = left_out.read(encoded.files(found))
    reasons = list(dict.fromkeys((*bad.reasons, *left.reasons)))
    if reasons:
        path = found.folder / encoded.BAD_RECORDS
        whole.write(path, "\n".join(reasons) + "\n")
        print(f"windows left out: {len(left.windows)}; {path} says why")


def _parser() -> argparse.ArgumentParser:
    parser = command.parser(__doc__, "python -m vidact.encode")
    parser.add_argument("--config", required=True, help="a file of configs/")
    parser.add_argument("--out", required=True, help="the folder to write, or to go on with")
    parser.add_argument("--batch", type=int, default=8, help="windows at a time; %(default)s")
    parser.add_argument("--per-file", type=int, default=1024, help="windows; %(default)s")
    parser.add_argument("--dtype", choices=DTYPES, default="float16", help="%(default)s")
    parser.add_argument("--coordinator", help="HOST:PORT of process 0, of several processes")
    parser.add_argument("--processes", type=int, help="how many there are")
    parser.add_argument("--process", type=int, help="which one this is, from 0")
    return parser


if __name__ == "__main__":
    command.run(main)
