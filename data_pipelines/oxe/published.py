"""Statistics that others published, to start from before a pass over the data of one's own.

published.json holds them and published.md says where they come from and what they are worth: of
actions alone, since the states published beside them are zeros, and over all steps, held-out ones
included. They are of the registry's standard action. Its gripper column reaches from 0 (closed) to
1 (open), but for dobbe, whose extremes stay a little within, and for berkeley_cable_routing and
toto, where it is 0 throughout.
"""

import functools
import json
import pathlib

from data_pipelines.oxe import registry
from vidact.actions import Statistics

_FILE = pathlib.Path(__file__).with_suffix(".json")
_SAME = {"bridge_dataset": "bridge_orig"}  # one data set under two names


def find(name: str) -> dict[str, Statistics] | None:
    """'action' of a data set, q01 to max of its 7 columns, or None where nobody published it.

    Raises:
      UserError: no such data set in the registry.
    """
    known = registry.find(name).name
    found = _table().get(_SAME.get(known, known))
    return found and {key: Statistics.from_json(value) for key, value in found.items()}


@functools.cache
def _table() -> dict:
    return json.loads(_FILE.read_text())
