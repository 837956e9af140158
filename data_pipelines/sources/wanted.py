"""Which features a reader asks a source for."""

from collections.abc import Collection, Mapping

from data_pipelines.sources.recording import Feature
from vidact.errors import UserError


def check(name: str, features: Mapping[str, Feature], paths: Collection[str]) -> None:
    """Checks that a source of this name can read all `paths`.

    Raises:
      UserError: it has no such feature, or one of a kind that is not read; lists what there is.
    """
    for path in paths:
        kind = features[path].kind if path in features else None
        if kind in (None, "other"):
            found = f"no {path} in a step" if kind is None else f"{path} is of a type not read"
            known = [key for key, feature in features.items() if feature.kind != "other"]
            raise UserError(
                f"{name}: {found}; set the key in config.data to one of: {', '.join(known)}"
            )
