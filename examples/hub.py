"""A hub reads what people write: a small text network, most of whose bytes are a table of words, made smaller.

python -m examples.hub
"""

from examples.chain import print_chain
from examples.trained import SENTENCES
from rich.console import Console

import prunus


def main() -> None:
    """Keep 60 % of the bytes by way of a narrower table, then compute in int8."""
    print_chain(Console(), SENTENCES, prunus.LowRank(bytes=0.6), prunus.Distill(steps=300))


if __name__ == "__main__":
    main()
