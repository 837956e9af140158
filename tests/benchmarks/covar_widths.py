"""Prints the table of docs/covar.md: parameters of CoVAR at other widths than ours.

Examples:
  python tests/benchmarks/covar_widths.py

Counts come from shapes; nothing is allocated.
"""

import argparse
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from configs import covar
from vidact.models import registry
from vidact.nn import flat
from vidact.training import describe

# (action width and heads, bridge width and heads, decoder)
ROWS = (
    ((384, 6), (384, 6), (256, 512)),
    ((384, 6), (1152, 16), (256, 512)),
    ((512, 8), (384, 6), (256, 512)),
    ((512, 8), (512, 8), (256, 512)),
    ((512, 8), (512, 8), (512, 1024)),
    ((512, 8), (768, 12), (256, 512)),
    ((512, 8), (1152, 16), (256, 512)),
    ((768, 12), (512, 8), (256, 512)),
    ((1152, 16), (1152, 16), (256, 512)),
)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    print("| action | bridge | decoder | action M | bridge M | decoder M | refiner M | total M |")
    print("|---|---|---|---|---|---|---|---|")
    for action, bridge, decoder in ROWS:
        config = covar.get_config("1b4")
        for name, (width, heads) in (("action", action), ("bridge", bridge)):
            config.model.update({f"{name}_width": width, f"{name}_heads": heads})
        config.model.decoder_channels = decoder
        line = describe.parameter_line(flat.blueprint(registry.maker(config)).shapes)
        counts = {name: int(count) / 1e6 for name, count in re.findall(r"(\w+): (\d+)", line)}
        parts = [counts[name] for name in ("action", "bridge", "decoder", "refiner", "total")]
        cells = [str(action[0]), str(bridge[0]), str(decoder), *(f"{part:.1f}" for part in parts)]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
