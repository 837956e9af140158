"""A NumPy-only leaf: where each camera's picture lies in the frame, in training and on the robot.

A frame is cut into equal tiles. The cameras fill them in reading order, each resized to its tile;
tiles left over are black.

Example:
  frame = np.zeros((64, 128, 3), np.uint8)
  for box, picture in zip(tiles.boxes((64, 128), (1, 2)), pictures):  # config.data's values
      frame[box] = picture  # 64 x 64
"""

from collections.abc import Sequence

from vidact.errors import UserError

Box = tuple[slice, slice]


def boxes(resolution: Sequence[int], tiles: Sequence[int]) -> list[Box]:
    """Rows and columns of each tile, in reading order: `frame[box]` is a view of [h, w, 3].

    Args:
      resolution: height and width of the frame in pixels; config.data.resolution.
      tiles: rows and columns of tiles; config.data.tiles.

    Raises:
      UserError: tiles are not two whole numbers that divide the resolution.
    """
    if len(tiles) != 2 or any(
        count < 1 or side % count for side, count in zip(resolution, tiles, strict=True)
    ):
        raise UserError(
            f"config.data.tiles={tuple(tiles)}: must be two whole numbers that divide "
            f"config.data.resolution={tuple(resolution)}"
        )
    rows, columns = tiles
    height, width = resolution[0] // rows, resolution[1] // columns
    return [
        (slice(top, top + height), slice(left, left + width))
        for top in range(0, resolution[0], height)
        for left in range(0, resolution[1], width)
    ]


def check(cameras: Sequence[str], resolution: Sequence[int], tiles: Sequence[int]) -> None:
    """Whether each camera is named once and has a tile.

    Args:
      cameras: config.data.image_key and further_image_keys.
      resolution, tiles: see `boxes`.

    Raises:
      UserError: names the key.
    """
    count = len(boxes(resolution, tiles))
    for number, camera in enumerate(cameras):
        if camera in cameras[:number]:
            raise UserError(
                f"config.data.further_image_keys={tuple(cameras[1:])}: {camera} is named twice; "
                "name image_key and each further camera once"
            )
    if len(cameras) > count:
        raise UserError(
            f"config.data.tiles={tuple(tiles)}: {len(cameras)} cameras for {count} tiles; choose "
            "more tiles or fewer config.data.further_image_keys"
        )
