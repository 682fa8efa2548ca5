"""Workers on this or other machines that segment images, tiles and frames: Dask; extra `dask`.

Each worker makes the predictor once. What a lost worker had to do is done again by another: files appear
whole, so that it does not matter how often they are written.
"""

import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, cast

from distributed import Client, Future, KilledWorker, LocalCluster, Worker, WorkerPlugin, get_worker
from distributed.client import FutureCancelledError

from axial_deeplab.ops.dispatch import avoiding_compiled_code, is_avoided
from axial_deeplab.prediction.batch import ImageArray
from axial_deeplab.prediction.frame_list import SeenFrame
from axial_deeplab.prediction.image_job import DoneImage, FailedImage, ImageJob, ImageToDo, failure_of
from axial_deeplab.prediction.large.maps import SeenTile, see_tile
from axial_deeplab.util.freed_memory import give_large_maps_back
from axial_deeplab.util.text import one_line

# Seconds until there must be a scheduler, and a worker.
_PATIENCE = 60
# Seconds until those who wait look for workers, and until workers that are lost do not come back.
_LOOK = 10
_LOST = 300
_GO_ON = "start the command again, which goes on from here"
# What a worker has to do and to do next.
_AHEAD = 3


class _Job(WorkerPlugin):
    """What the workers of a run keep: the job with its predictor, which unpickling makes."""

    def __init__(self, job: ImageJob) -> None:
        self.name = f"axial-deeplab-{uuid.uuid4()}"
        self.job = job
        self.avoids_compiled_code = is_avoided()

    def setup(self, worker: Worker) -> None:
        # Dask lets the C library give back everything at once, which takes half of the time.
        give_large_maps_back(of_one_size=True)
        with avoiding_compiled_code(self.avoids_compiled_code):
            self.job.predictor.warm_up()


def _plugin(name: str) -> _Job:
    return cast(_Job, get_worker().plugins[name])


def _segment(plugin: str, image: ImageToDo) -> tuple[DoneImage | FailedImage | None, list[Warning | str]]:
    """Segment an image on a worker; return what was done, and the warnings."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", UserWarning)
        kept = _plugin(plugin)
        with avoiding_compiled_code(kept.avoids_compiled_code):
            done = kept.job(image)
    return done, [each.message for each in found if issubclass(each.category, UserWarning)]


def _see_frame(plugin: str, pixels: ImageArray) -> SeenFrame:
    return _plugin(plugin).job.see_frame(pixels)


def _see(plugin: str, pixels: ImageArray) -> SeenTile:
    predictor = _plugin(plugin).job.predictor
    return see_tile(predictor.model, pixels, predictor.view)


class Cluster:
    """Workers that have the predictor of a job.

    Args:
        client: connection to the scheduler.
        plugin: name of what the workers keep.
    """

    def __init__(self, client: Client, plugin: str) -> None:
        self.client = client
        self.plugin = plugin

    @property
    def ahead(self) -> int:
        """Images or tiles to give away before the first is needed."""
        return _AHEAD * max(1, sum(self.client.nthreads().values()))

    def segment(self, image: ImageToDo) -> Callable[[], DoneImage | FailedImage | None]:
        """Give an image to a worker; return what waits for the result and gives its warnings."""
        wait = self._submit(_segment, image)

        def result() -> DoneImage | FailedImage | None:
            try:
                done, notes = wait()
            except ValueError as error:
                return failure_of(image.path, error)
            for note in notes:
                warnings.warn(note, stacklevel=2)
            return done

        return result

    def see(self, pixels: ImageArray) -> Callable[[], SeenTile]:
        """Give a tile to a worker; return what waits for its maps."""
        return self._submit(_see, pixels)

    def see_frame(self, pixels: ImageArray) -> Callable[[], SeenFrame]:
        """Give a frame of a video to a worker; return what waits for the result."""
        return self._submit(_see_frame, pixels)

    def _submit(self, function: Callable[..., Any], item: Any) -> Callable[[], Any]:
        pending = self._given(function, item)

        def result() -> Any:
            with suppress(KilledWorker):
                return self._result(pending)
            try:  # once more: what ended the workers may have been another item that they had
                return self._result(self._given(function, item))
            except KilledWorker:
                raise ValueError(
                    "worker must end what it has begun, got several that were lost over it; "
                    "their memory may not suffice: give --max-size, or a smaller --tile"
                ) from None

        return result

    def _result(self, future: Future) -> Any:
        """Wait for a result as long as there are workers: Dask itself waits for new ones without end.

        Those of this machine may be lost, too: who starts them again gives up where one does not start.

        Raises:
            ConnectionError: the scheduler, or every worker, is lost.
        """
        last_seen = time.monotonic()
        while True:
            try:
                return future.result(timeout=_LOOK)
            except FutureCancelledError:
                raise ConnectionError(
                    f"scheduler must be there to the end, got none any more; {_GO_ON}"
                ) from None
            except TimeoutError:
                if future.done():  # by now, or the error is that of the item
                    return future.result()
            with suppress(OSError):
                if self.client.nthreads():
                    last_seen = time.monotonic()
            if time.monotonic() - last_seen > _LOST:
                raise ConnectionError(f"workers must be there to the end, got none for {_LOST} s; {_GO_ON}")

    def _given(self, function: Callable[..., Any], item: Any) -> Future:
        return self.client.submit(function, self.plugin, item, pure=False)


@contextmanager
def open_cluster(job: ImageJob, workers: int | None, scheduler: str | None) -> Iterator[Cluster]:
    """Yield workers that have the predictor of a job: so many processes of this machine, or a scheduler's.

    Args:
        job: what they are to do with images.
        workers: processes to start, one thread each; None takes those of the scheduler.
        scheduler: address of the scheduler, such as tcp://10.0.0.1:8786.

    Raises:
        ValueError: there is no scheduler or no worker, or they cannot make the predictor.
        OSError: processes of this machine cannot be started.
    """
    with ExitStack() as stack:
        if workers is not None:
            try:
                cluster = LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    memory_limit=0,  # no worker is ended for what an image needs
                    dashboard_address=":0",
                    silence_logs=50,
                )
            except RuntimeError as error:
                raise ChildProcessError(
                    f"worker processes must start, got: {one_line(error)}; give a script its "
                    '`if __name__ == "__main__":`, or leave workers out'
                ) from None
            scheduler = stack.enter_context(cluster).scheduler_address
        try:
            client = stack.enter_context(Client(scheduler, timeout=_PATIENCE, set_as_default=False))
        except (OSError, ValueError) as error:
            raise ValueError(
                f"scheduler must be the address of a running Dask scheduler, got {scheduler}: {error}; "
                "start one by `dask scheduler`"
            ) from None
        try:
            client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError:
            raise ValueError(
                f"scheduler must have workers, got none at {scheduler} within {_PATIENCE} s; "
                f"start some by `dask worker {scheduler} --nthreads 1`"
            ) from None
        plugin = _Job(job)
        try:
            client.register_plugin(plugin)
        except Exception as error:  # of any kind, as the worker that cannot
            raise ValueError(
                f"workers must be able to make the predictor, got: {one_line(error)}; they need the same "
                "axial-deeplab, and the weights at the same path"
            ) from None
        yield Cluster(client, plugin.name)
        client.unregister_worker_plugin(plugin.name)
