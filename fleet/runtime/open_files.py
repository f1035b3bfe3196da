"""How many files a fleet keeps open, and the system's limit of them."""

from __future__ import annotations

import resource

from fleet.errors import UserError

FILES_PER_WORKER = 3
FILES_BESIDES_WORKERS = 256


def raise_open_file_limit(workers: int) -> None:
    """Raise this process's limit as far as so many workers need it. UserError if the system does not let us."""
    needed = FILES_PER_WORKER * workers + FILES_BESIDES_WORKERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        most = max(0, (hard - FILES_BESIDES_WORKERS) // FILES_PER_WORKER)
        raise UserError(
            f"{workers} workers need {needed} open files, the limit is {hard} (enough for {most}): "
            "raise it with `ulimit -n`, or pack more sensors into a worker (replicas.sensors_per_worker)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
