"""A speaker listens for commands: a depthwise separable network on cepstra, compressed for its processor.

python -m examples.speaker
"""

from examples.chain import print_chain
from examples.trained import COMMANDS
from rich.console import Console

import prunus


def main() -> None:
    """Keep 90 % of the multiplications, then compute in int8."""
    print_chain(Console(), COMMANDS, prunus.Prune(macs=0.9), prunus.Distill(steps=300))


if __name__ == "__main__":
    main()
