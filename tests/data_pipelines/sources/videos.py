"""Small video files that tests write themselves, and an independent way to read them."""

import fractions
import io
import pathlib

import av
import numpy as np

FPS = 10
SIZE = (48, 64)
SHORT_GOP = {"g": "2", "bf": "0"}
LONG_GOP = {"g": "250", "bf": "3", "b_strategy": "0"}


def pixels(frames: int, seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Frames that all differ: a coloured noise that moves by two pixels a frame."""
    height, width = size
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 4, 3), np.uint8)
    noise = coarse.repeat(8, 0).repeat(8, 1)
    return np.stack([np.roll(noise, 2 * i, 1)[:, :width] for i in range(frames)])


def write(
    path: pathlib.Path,
    frames: np.ndarray,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    fps: int = FPS,
    times: list[int] | None = None,
    movflags: str = "",
) -> pathlib.Path:
    """Encodes frames; `times` are in thousandths of a second where they are not regular."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"movflags": movflags} if movflags else {}) as container:
        stream = container.add_stream(codec, rate=fps, options=options or SHORT_GOP)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        if times is not None:
            stream.codec_context.time_base = fractions.Fraction(1, 1000)
        for i, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[i], stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def copy(source: pathlib.Path, target: pathlib.Path, shift: int = 0, turn: int = 0, **options: str):
    """Copies the packets into another file, `shift` frames earlier, turned by `turn` degrees."""
    with av.open(str(source)) as reader, av.open(str(target), "w", options=options) as writer:
        stream = reader.streams.video[0]
        out = writer.add_stream_from_template(stream)
        if turn:
            out.set_display_rotation(turn)
        unit = round(1 / stream.average_rate / stream.time_base)
        for packet in reader.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts - shift * unit, packet.dts - shift * unit
                packet.stream = out
                writer.mux(packet)
    return target


def join(sources: list[pathlib.Path], target: pathlib.Path) -> pathlib.Path:
    """Puts files one after the other, without encoding them again, as LeRobot does."""
    listed = target.with_suffix(".ffconcat")
    target.parent.mkdir(parents=True, exist_ok=True)
    listed.write_text("ffconcat version 1.0\n" + "".join(f"file '{path}'\n" for path in sources))
    with (
        av.open(str(listed), format="concat", options={"safe": "0"}) as reader,
        av.open(str(target), "w", options={"movflags": "faststart"}) as writer,
    ):
        stream = reader.streams.video[0]
        out = writer.add_stream_from_template(stream, opaque=True)
        out.time_base = stream.time_base
        for packet in reader.demux(stream):
            if packet.dts is not None:
                packet.stream = out
                writer.mux(packet)
    listed.unlink()
    return target


def decode(path: pathlib.Path) -> np.ndarray:
    """All frames of a file, decoded from its start to its end."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def png(picture: np.ndarray) -> bytes:
    """One picture as a PNG file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()
