"""Which runs there are to do, in which order, and by which of several processes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from axial_deeplab.experiments.reproduction.networks import NETWORKS, STRESSED, TABLES, Network
from axial_deeplab.experiments.reproduction.runs import RUN, STRESS, Reproduction

LOCK = ".lock"


@dataclass(frozen=True)
class Job:
    """Something to do: a training with its measurement, or the stress test of a trained network."""

    network: Network
    seed: int
    stress: bool = False

    def __str__(self) -> str:
        return f"{self.network.key}, seed {self.seed}" + (", stress test" if self.stress else "")

    def is_done(self, reproduction: Reproduction) -> bool:
        """Return whether its result is there."""
        folder = reproduction.folder(self.network, self.seed)
        return (folder / (STRESS if self.stress else RUN)).exists()

    def do(self, reproduction: Reproduction) -> None:
        """Do it, or what is left of it."""
        reproduction.train_and_measure(self.network, self.seed)
        if self.stress:
            reproduction.stress(self.network, self.seed)


def jobs(tables: Sequence[str], seeds: Sequence[int]) -> list[Job]:
    """Return what tables need, each once: all of the first seed before the second, and so on."""
    keys = {key for table in tables for key in TABLES[table].networks}
    networks = [network for network in NETWORKS.values() if network.key in keys]
    stressed = STRESSED if "stress" in tables else ()
    return [
        Job(network, seed, stress)
        for seed in seeds
        for stress, several in ((False, networks), (True, stressed))
        for network in several
    ]


def do_jobs(
    wanted: Sequence[Job],
    reproduction: Reproduction,
    *,
    report: Callable[[str], None],
    after_each: Callable[[], None],
) -> None:
    """Do all jobs, in their order, that are not done and that no other process is at.

    `report` is told of each before it starts, `after_each` is called when one is done.

    Raises:
        ValueError: a folder has a run of other settings.
        OSError: a file cannot be read or written.
    """
    with _lock(reproduction.output / "scenes.lock", wait=True):
        reproduction.draw_scenes()
    for number, job in enumerate(wanted, start=1):
        name = f"[{number}/{len(wanted)}] {job}"
        if job.is_done(reproduction):
            job.do(reproduction)  # checks that it was done by this recipe
            report(f"{name}: done before")
            continue
        with _lock(reproduction.folder(job.network, job.seed) / LOCK) as free:
            if not free:
                report(f"{name}: another process is at it")
                continue
            report(name)
            job.do(reproduction)
        after_each()


@contextmanager
def _lock(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold a lock file while the context lasts; yield whether it was free, for which one may wait.

    The system frees it when a process is killed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, mode=0o666)
    try:
        held = lock.acquire(blocking=wait)
    except Timeout:
        yield False
        return
    with held:
        yield True
