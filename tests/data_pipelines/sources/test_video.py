"""Frames of a video by random access equal those of the file decoded from its start."""

import concurrent.futures
import sys
import threading

import av
import numpy as np
import pytest
from etils import epath

from data_pipelines import frames as pictures
from data_pipelines.sources import packets
from data_pipelines.sources.packets import Span
from data_pipelines.sources.recording import Frames
from data_pipelines.sources.video import VideoFrames
from tests.data_pipelines.sources import videos
from vidact.errors import UserError

COUNT = 40
CODECS = {
    "gop2.mp4": ("libx264", videos.SHORT_GOP),
    "long.mp4": ("libx264", videos.LONG_GOP),
    "long.mkv": ("libx264", videos.LONG_GOP),
    "long.mov": ("libx264", videos.LONG_GOP),
    # Leading frames of an open group build on the group before.
    "open.mp4": (
        "libx264",
        {"x264-params": "open-gop=1:keyint=8:min-keyint=8:bframes=3:b-adapt=0"},
    ),
    "hevc.mp4": ("libx265", {"x265-params": "open-gop=1:keyint=8:bframes=3:log-level=none"}),
    "vp9.webm": ("libvpx-vp9", {"g": "12", "cpu-used": "8", "auto-alt-ref": "1"}),
    "av1.mp4": ("libsvtav1", {"g": "8", "preset": "12"}),
}


@pytest.fixture(scope="module", params=CODECS)
def file(request, tmp_path_factory):
    codec, options = CODECS[request.param]
    path = tmp_path_factory.mktemp("videos") / request.param
    return videos.write(path, videos.pixels(COUNT), codec, options)


def frames_of(path, steps=COUNT, span=None):
    return VideoFrames(epath.Path(path), steps, span)


def test_every_frame_is_that_of_the_file_decoded_from_its_start(file):
    whole, frames = videos.decode(file), frames_of(file)
    assert isinstance(frames, Frames)
    assert len(frames) == len(whole) == COUNT
    # All frames differ, so that a neighbour would be noticed.
    assert (np.abs(np.diff(whole.astype(int), axis=0)).mean((1, 2, 3)) > 5).all()
    for step in range(COUNT):
        (picture,) = frames.read([step])
        np.testing.assert_array_equal(picture, whole[step])


@pytest.mark.parametrize(
    "steps", [range(COUNT), range(3, 20), [0, 7, 8, 30], range(1, COUNT, 6), [5, 5, 6, 6], [39], []]
)
def test_windows_strides_and_repeats(file, steps):
    found = frames_of(file).read(list(steps))
    assert len(found) == len(steps)
    for picture, wanted in zip(found, videos.decode(file)[list(steps)]):
        np.testing.assert_array_equal(picture, wanted)


def test_the_colours_are_those_that_were_encoded(file):
    error = np.abs(
        np.stack(frames_of(file).read([0, 20])) - videos.pixels(COUNT)[[0, 20]].astype(int)
    )
    assert error.mean() < 12  # chroma is stored at half the resolution


def test_the_header_tells_count_and_rate(file):
    assert packets.probe(epath.Path(file)) == (COUNT, videos.FPS)


@pytest.fixture(params=[videos.SHORT_GOP, videos.LONG_GOP], ids=["short", "long"])
def joined(request, tmp_path):
    """A file of three episodes of 12, 17 and 9 frames, and its frames."""
    parts = [
        videos.write(tmp_path / f"{i}.mp4", videos.pixels(n, seed=i), options=request.param)
        for i, n in enumerate((12, 17, 9))
    ]
    path = videos.join(parts, tmp_path / "joined.mp4")
    return path, np.concatenate([videos.decode(part) for part in parts])


@pytest.mark.parametrize(("first", "count"), [(0, 12), (12, 17), (29, 9)])
def test_a_span_of_a_file(joined, first, count):
    path, whole = joined
    frames = frames_of(path, count, Span(first / videos.FPS, videos.FPS))
    np.testing.assert_array_equal(frames.read(range(count)), whole[first : first + count])
    np.testing.assert_array_equal(frames.read([count - 1]), whole[[first + count - 1]])


def test_a_span_need_not_begin_at_a_key_frame(tmp_path):
    path = videos.write(tmp_path / "a.mp4", videos.pixels(COUNT), options=videos.LONG_GOP)
    # Time stamps of metadata are rounded.
    frames = frames_of(path, 20, Span(1.3 + 0.003, videos.FPS))
    np.testing.assert_array_equal(frames.read(range(20)), videos.decode(path)[13:33])


def test_a_span_beyond_the_file_says_how_many_frames_there_are(joined):
    with pytest.raises(UserError, match=r"joined.mp4: holds 9 frames where 10 .* from 2.9 s on"):
        frames_of(joined[0], 10, Span(2.9, videos.FPS)).read([0])


def test_a_span_at_another_rate_is_refused(joined):
    with pytest.raises(UserError, match="holds 12 frames where 24 are stated at 20 fps"):
        frames_of(joined[0], 24, Span(0.0, 20.0)).read([0])
    times = [0, 100, 200, 290, 300, 500]
    path = videos.write(joined[0].with_name("uneven.mp4"), videos.pixels(6), times=times)
    with pytest.raises(UserError, match=r"uneven.mp4: no frame at 0.400 s, for step 4 "):
        frames_of(path, 6, Span(0.0, videos.FPS)).read([0])


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_uneven_times_do_not_matter_where_frames_are_counted(tmp_path, suffix):
    times = [0, 90, 210, 300, 310, 900, 1000, 1040]
    path = videos.write(tmp_path / f"a{suffix}", videos.pixels(8), times=times)
    frames, whole = frames_of(path, 8), videos.decode(path)
    for step in range(8):
        np.testing.assert_array_equal(frames.read([step])[0], whole[step])


def test_frames_that_an_edit_list_cuts_off_do_not_count(tmp_path):
    path = videos.write(tmp_path / "a.mp4", videos.pixels(COUNT), options=videos.LONG_GOP)
    cut = videos.copy(path, tmp_path / "cut.mp4", shift=11)
    assert packets.probe(epath.Path(cut)).frames == COUNT - 11
    frames = frames_of(cut, COUNT - 11)
    np.testing.assert_array_equal(frames.read([0, 5, 28]), videos.decode(path)[[11, 16, 39]])


def test_a_fragmented_file(tmp_path):
    path = videos.write(tmp_path / "a.mp4", videos.pixels(COUNT), options=videos.LONG_GOP)
    parts = videos.copy(path, tmp_path / "parts.mp4", movflags="frag_keyframe+empty_moov")
    assert packets.probe(epath.Path(parts)) == (COUNT, videos.FPS)
    np.testing.assert_array_equal(frames_of(parts).read([0, 17]), videos.decode(path)[[0, 17]])


@pytest.mark.parametrize("turn", [90, 180, -90])
def test_a_phone_that_was_held_otherwise(tmp_path, turn):
    path = videos.write(tmp_path / "a.mp4", videos.pixels(3))
    turned = videos.copy(path, tmp_path / "turned.mp4", turn=turn)
    found = frames_of(turned, 3).read([1])[0]
    want = videos.decode(path)[1]
    # Each pixel by hand: 90 degrees counterclockwise bring the right-most column to the top.
    want = {90: want[:, ::-1].transpose(1, 0, 2), 180: want[::-1, ::-1]}.get(
        turn, want[::-1].transpose(1, 0, 2)
    )
    np.testing.assert_array_equal(found, want)


def test_many_threads(file):
    whole, frames = videos.decode(file), frames_of(file)
    starts = np.random.default_rng(0).integers(0, COUNT - 5, 40).tolist()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda start: frames.read(range(start, start + 5)), starts))
    for start, window in zip(starts, found):
        np.testing.assert_array_equal(window, whole[start : start + 5])
    assert threading.active_count() < 20


def test_a_step_beyond_the_episode(file):
    with pytest.raises(UserError, match=rf"{file.name}: no step 40: the episode has 40 frames"):
        frames_of(file).read([3, 40])


@pytest.mark.parametrize("steps", [39, 41])
def test_a_wrong_number_of_frames(file, steps):
    with pytest.raises(UserError, match=rf"holds 40 frames where {steps} are stated"):
        frames_of(file, steps).read([0])


def one_line(error) -> str:
    (line,) = str(error.value).splitlines()
    return line


def test_a_truncated_file_is_named(file):
    data = file.read_bytes()
    cut = file.with_stem("cut")
    cut.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(UserError) as error:
        frames_of(cut).read(range(COUNT))
    assert cut.name in one_line(error)


def test_a_file_truncated_behind_its_header(tmp_path):
    path = videos.write(tmp_path / "a.mp4", videos.pixels(COUNT), movflags="faststart")
    data = path.read_bytes()
    path.write_bytes(data[:-1000])
    with pytest.raises(UserError, match=r"a.mp4: truncated, the file ends 1000 bytes early"):
        packets.probe(epath.Path(path))
    with pytest.raises(UserError, match=r"a.mp4: truncated"):
        frames_of(path).read([0])
    sound = frames_of(path, 20, Span(0.0, videos.FPS)).read([0])  # an episode that lies before
    assert sound[0].shape == (*videos.SIZE, 3)


def test_damage_within_a_frame_is_named(tmp_path, capfd):
    path = videos.write(tmp_path / "a.mp4", videos.pixels(COUNT), options=videos.LONG_GOP)
    data = bytearray(path.read_bytes())
    middle = data.find(b"mdat") + len(data) // 2
    data[middle : middle + 100] = bytes(value ^ 0x5A for value in data[middle : middle + 100])
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"a.mp4: step \d+ .*copy or download") as error:
        frames_of(path).read(range(COUNT))
    assert one_line(error)
    assert capfd.readouterr() == ("", "")  # FFmpeg keeps quiet


@pytest.mark.parametrize("content", [b"", b"\0" * 1000, b"#EXTM3U\nfile.mp4\n"])
def test_what_is_no_video(tmp_path, content):
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    for read in (lambda: packets.probe(epath.Path(path)), lambda: frames_of(path).read([0])):
        with pytest.raises(UserError, match=r"a.mp4: damaged, truncated or missing \(Invalid"):
            read()


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"a.mp4: .*missing \(No such file"):
        frames_of(tmp_path / "a.mp4").read([0])


def test_sound_alone(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(UserError, match=r"a.mp4: holds no video"):
        packets.probe(epath.Path(path))


def test_too_large_frames(tmp_path, monkeypatch):
    path = videos.write(tmp_path / "a.mp4", videos.pixels(2))
    monkeypatch.setattr(packets, "MAX_PIXELS", 48 * 64 - 1)
    with pytest.raises(UserError, match=r"a.mp4: frames of 48x64 pixels; at most 3071"):
        frames_of(path, 2).read([0])


def test_videos_have_the_limit_of_images():
    assert packets.MAX_PIXELS == pictures.MAX_PIXELS


def test_too_many_frames(tmp_path, monkeypatch):
    path = videos.write(tmp_path / "a.mkv", videos.pixels(9))
    monkeypatch.setattr(packets, "MAX_FRAMES", 5)
    with pytest.raises(UserError, match=r"a.mkv: .*too long"):
        packets.probe(epath.Path(path))


def test_a_file_without_frames(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        container.add_stream("libx264", rate=10, width=64, height=48, pix_fmt="yuv420p")
        container.start_encoding()
    with pytest.raises(UserError, match=r"a.mkv: damaged, truncated or missing"):
        packets.probe(epath.Path(path))


def test_without_the_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"av: not installed; run `pip install vidact\[video\]`"):
        frames_of(tmp_path / "a.mp4").read([0])
