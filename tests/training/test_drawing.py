"""Film strips and curves, looked at by their pixels."""

import numpy as np
from PIL import Image

from vidact.training import drawing

RED, BLUE = drawing.CURVES


def drawn(tmp_path, row: drawing.Row) -> np.ndarray:
    drawing.draw(tmp_path / "new/picture.png", [row])
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["picture.png"]
    with Image.open(tmp_path / "new/picture.png") as picture:
        return np.asarray(picture)


def is_colour(pixels: np.ndarray, colour) -> np.ndarray:
    return (pixels == np.asarray(colour)).all(-1)


def test_frames_stand_side_by_side_and_enlarged(tmp_path):
    video = np.zeros((3, 16, 16, 3), np.uint8)
    video[0], video[1], video[2] = (10, 200, 10), (10, 10, 210), (220, 210, 10)
    row = drawing.Row("übung 動く", [video], [np.zeros((2, 1), np.float32)], np.ones((2, 1), bool))
    pixels = drawn(tmp_path, row)
    places = [np.argwhere(is_colour(pixels, frame[0, 0])) for frame in video]
    assert [len(place) for place in places] == [96 * 96] * 3  # six times as tall and wide
    left = [place[:, 1].min() for place in places]
    assert left[0] < left[1] < left[2]


def test_curves_show_what_has_a_label(tmp_path):
    recorded = np.array([[1.0, -1.0], [1.0, -1.0], [np.nan, 5.0]], np.float32)
    mask = np.array([[True, False], [True, False], [True, False]])
    pixels = drawn(tmp_path, drawing.Row("", [], [recorded, -recorded], mask))
    red, blue = (np.argwhere(is_colour(pixels, colour)) for colour in (RED, BLUE))
    assert red[:, 0].max() < blue[:, 0].min()  # +1 above -1
    assert max(red[:, 1].max(), blue[:, 1].max()) < drawing.PANEL[0]  # the second is not labelled
