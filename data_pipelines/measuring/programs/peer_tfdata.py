"""A lean tf.data pipeline over the TFRecord files of an RLDS data set.

  python peer_tfdata.py FOLDER [HEIGHT WIDTH [antialias]]

Only what is wanted is parsed; windows are shuffled as references to their episode's JPEG files, not
as pixels; each frame is decoded once, the accurate way, and copied once, into its batch.
"""

import pathlib
import sys
from collections.abc import Iterator

import peer_loop
import tensorflow as tf
from peer_loop import BATCH, FRAMES, THREADS

_FEATURES = {
    "steps/observation/image": tf.io.FixedLenSequenceFeature([], tf.string, allow_missing=True),
    "steps/observation/state": tf.io.FixedLenSequenceFeature([7], tf.float32, allow_missing=True),
    "steps/action": tf.io.FixedLenSequenceFeature([7], tf.float32, allow_missing=True),
}
_NAME = len("00000.tfrecord")
_OPEN_FILES, _OPEN_EPISODES, _SHUFFLED = 4, 16, 1000


def records(folder: pathlib.Path) -> tf.data.Dataset:
    """Endless: an episode's number, by its file's name and its place there, and its bytes."""
    paths = sorted(str(path) for path in folder.glob("*.tfrecord"))
    files = tf.data.Dataset.from_tensor_slices(paths).shuffle(len(paths)).repeat()

    def episodes(path: tf.Tensor) -> tf.data.Dataset:
        first = tf.strings.to_number(tf.strings.substr(path, -_NAME, 5), tf.int64)
        return tf.data.TFRecordDataset(path).enumerate(first)

    return files.interleave(episodes, cycle_length=_OPEN_FILES, num_parallel_calls=THREADS)


def parse(number: tf.Tensor, record: tf.Tensor) -> tuple[tf.Tensor, dict]:
    """The wanted features of an episode."""
    return number, tf.io.parse_single_example(record, _FEATURES)


def windows(number: tf.Tensor, episode: dict) -> tf.data.Dataset:
    """All windows of an episode in a random order, none of them beyond its end."""
    images = episode["steps/observation/image"]
    last = tf.shape(images, tf.int64)[0] - FRAMES
    starts = tf.data.Dataset.from_tensor_slices(tf.random.shuffle(tf.range(last + 1)))
    return starts.map(
        lambda start: {
            "place": tf.stack([number, start]),
            "images": images,
            "actions": episode["steps/action"][start : start + FRAMES - 1],
            "state": episode["steps/observation/state"][start],
        }
    )


def decode(window: dict, size: list[int], antialias: bool) -> dict:
    """Decodes the frames of a window, and resizes them where a size is given."""
    start = window["place"][1]
    files = tf.ensure_shape(window.pop("images")[start : start + FRAMES], [FRAMES])
    frames = tf.stack(
        [
            tf.io.decode_jpeg(file, channels=3, dct_method="INTEGER_ACCURATE")
            for file in tf.unstack(files)
        ]
    )
    if size:
        frames = tf.image.resize(frames, size, "bilinear", antialias=antialias)
        frames = tf.cast(tf.round(frames), tf.uint8)
    return {"pixels": frames, **window}


def batches(
    folder: pathlib.Path, size: list[int], antialias: bool = False
) -> Iterator[peer_loop.Windows]:
    """Endless; on as many threads as the other sides have."""
    options = tf.data.Options()
    options.threading.private_threadpool_size = THREADS
    options.deterministic = False
    found = records(folder).map(parse, num_parallel_calls=THREADS)
    found = found.interleave(windows, cycle_length=_OPEN_EPISODES).shuffle(_SHUFFLED)
    found = found.map(lambda window: decode(window, size, antialias), num_parallel_calls=THREADS)
    found = found.batch(BATCH, drop_remainder=True).prefetch(1).with_options(options)
    for batch in found.as_numpy_iterator():
        yield peer_loop.Windows(batch["place"], batch["pixels"])


if __name__ == "__main__":
    read, sides = pathlib.Path(sys.argv[1]), [int(side) for side in sys.argv[2:4]]
    peer_loop.serve(batches(read, sides, sys.argv[4:] == ["antialias"]))
