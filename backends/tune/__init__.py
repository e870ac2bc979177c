"""Tuning: other ways of computing each kernel, tried, verified, timed, and kept in a file of records."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from prunus.targets import Target
from prunus.tuning import Tune

if TYPE_CHECKING:
    from prunus.backends.tune.records import Records
    from prunus.passes.graph import Graph

_LOG = logging.getLogger("prunus.tune")


def tuning_records(
    graph: "Graph",
    *,
    target: Target,
    config: Tune | None,
    progress: Callable[[str, int, int], None] | None = None,
) -> "Records":
    """Return what is known of faster knobs, after looking for more where `config` asks for it.

    The report of the search is left in `graph.meta["tuning"]`; records that cannot be used are logged.

    Args:
        graph: as the passes leave it.
        target: what to compile for.
        config: None takes what the default file knows.
        progress: called with "tune", seconds that have passed, and all seconds.

    Raises:
        TuneError, OutputError: as `tuner.tune`.
    """
    from prunus.backends.tune.records import Records, default_path

    given = config.records if config is not None else None
    records = Records(Path(given) if given is not None else default_path())
    if config is not None and config.minutes > 0:
        from prunus.backends.tune.tuner import tune

        graph.meta["tuning"] = tune(graph, target=target, minutes=config.minutes, records=records, progress=progress)
    for remark in records.remarks:
        _LOG.warning("%s: %s", records.path, remark)
    return records
