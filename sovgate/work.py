"""Work on all cores in bounded memory: threads, buffers from a fixed pool, steps in order.

Ground floor: standard library only. The reader takes a buffer before it reads, and waits while none
is free: that is the only back-pressure there is, and the bound on memory.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

Step = Callable[[], None]

_LARGE_PAGE = 2 * 1024 * 1024
#: Seconds that whoever waits for a server lets pass before asking whether anybody waits for that.
LOOK = 0.5

#: Of each thread the workers that it is one of.
_here = threading.local()


class BrokenOff(BaseException):
    """Whoever waits for this step has ended: it shall, too. No `except Exception` of a library on
    the way keeps it, and `check` tells the error that came first."""


def go_on() -> None:
    """Asked by what takes long within a step, such as a chunk on a slow link, each time it goes on.

    Raises BrokenOff after a signal, the end of the time, or an error of another step.
    """
    workers: Workers | None = getattr(_here, "workers", None)
    while workers is not None:
        if workers.failed:
            raise BrokenOff
        workers = workers.within


def pause(seconds: float) -> None:
    """Sleeps, and no longer than anybody waits for it. Raises BrokenOff, as `go_on` does."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        go_on()
        time.sleep(min(left, LOOK))
    go_on()


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """Threads and the first error of any of them. Use as a context manager.

    After an error, steps that have not started are dropped, whoever waits is woken, and leaving the
    context raises that error.
    """

    def __init__(self, workers: int | None = None) -> None:
        # Two more than cores: some will be waiting for the disk.
        self._threads = ThreadPoolExecutor(workers or min(16, cores() + 2), "sovgate")
        self.changed = threading.Condition()
        self._error: BaseException | None = None
        self._open = 0
        #: The workers that these are a step of.
        self.within: Workers | None = getattr(_here, "workers", None)

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if error is not None:
            self.fail(error)
        told = self._ended()
        if told is not None:
            raise told
        if error is None:
            self.check()

    def _ended(self) -> BaseException | None:
        """Wait until no step runs. A signal that comes meanwhile ends the steps, not the wait: what
        they write to is closed after this, and its descriptor would then be another file's.

        After an error nobody counts what is open: a signal in `submit` may have lost a step.
        """
        told: BaseException | None = None
        while True:
            try:
                with self.changed:
                    self.changed.wait_for(lambda: self.failed or not self._open)
                self._threads.shutdown()  # of a failed run each step that waits ends at once
            except BaseException as error:  # noqa: BLE001 - raised by the caller of this
                told = told or error
                self.fail(error)
            else:
                return told

    def fail(self, error: BaseException) -> None:
        with self.changed:
            self._error = self._error or error
            self.changed.notify_all()

    def check(self) -> None:
        """Raise the first error, if there was one."""
        if self._error is not None:
            raise self._error

    @property
    def failed(self) -> bool:
        return self._error is not None

    def submit(self, step: Step) -> None:
        with self.changed:
            self._open += 1
        self._threads.submit(self._run, step)

    def _run(self, step: Step) -> None:
        _here.workers = self
        try:
            if not self.failed:
                step()
        except BaseException as error:  # noqa: BLE001 - kept, and raised by check()
            self.fail(error)
        finally:
            with self.changed:
                self._open -= 1
                self.changed.notify_all()


class Buffers:
    """`count` buffers of `size` bytes, made when first needed. `take` waits until one is free.

    Memory of their own, of no file; in large pages where the system has them, since reading and
    sending spend much of their time on finding pages.
    """

    def __init__(self, workers: Workers, count: int, size: int) -> None:
        self._workers = workers
        self._left = count
        self._size = size
        self._free: list[memoryview] = []

    def take(self) -> Buffer:
        """Raises the workers' error rather than wait for what will not come."""
        changed = self._workers.changed
        with changed:
            changed.wait_for(lambda: self._free or self._left or self._workers.failed)
            self._workers.check()
            if self._free:
                return Buffer(self, self._free.pop())
            self._left -= 1
        return Buffer(self, _memory(self._size))

    def give(self, data: memoryview) -> None:
        with self._workers.changed:
            self._free.append(data)
            self._workers.changed.notify_all()


def _memory(size: int) -> memoryview:
    """Zeros, private to this process. Its pages come when they are first written to."""
    if not hasattr(mmap, "MADV_HUGEPAGE") or size < _LARGE_PAGE:
        return memoryview(bytearray(size))
    made = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel that was built without them
        made.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(made)


class Buffer:
    """A buffer on loan. It returns to its pool when `drop` was called once by each holder."""

    def __init__(self, pool: Buffers, data: memoryview) -> None:
        self._pool = pool
        self._data = data
        self._holders = 1
        self._lock = threading.Lock()

    def view(self, size: int) -> memoryview:
        return self._data[:size]

    def hold(self, more: int) -> None:
        """`more` further holders, each of which will call `drop`."""
        with self._lock:
            self._holders += more

    def drop(self) -> None:
        with self._lock:
            self._holders -= 1
            done = self._holders == 0
        if done:
            self._pool.give(self._data)


class Ordered:
    """Steps numbered 0, 1, 2, … that arrive in any order and run one after another, in order."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._lock = threading.Lock()
        self._waiting: dict[int, Step] = {}
        self._next = 0
        self._running = False

    def put(self, number: int, step: Step) -> None:
        with self._lock:
            self._waiting[number] = step
            if self._running or self._next not in self._waiting:
                return
            self._running = True
        self._workers.submit(self._drain)

    def _drain(self) -> None:
        while True:
            with self._lock:
                step = self._waiting.pop(self._next, None)
                if step is None or self._workers.failed:
                    self._running = False
                    return
                self._next += 1
            step()
