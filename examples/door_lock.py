"""A door lock looks at pictures: a small residual network, compressed for its processor.

python -m examples.door_lock
"""

from examples.chain import print_chain
from examples.trained import FASHION
from rich.console import Console

import prunus


def main(console: Console | None = None) -> None:
    """Keep 70 % of the multiplications, then compute in int8. The pictures in the repository stand in for faces."""
    print_chain(console or Console(), FASHION, prunus.Prune(macs=0.7, steps=3), prunus.Distill(steps=300))


if __name__ == "__main__":
    main()
