"""The release keys of many parts: asked for side by side, and answered as if one after another."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

import pytest

from sovgate.errors import KeyServiceError, VerificationFailed
from sovgate.formats import part as parts
from sovgate.formats import wrap
from sovgate.formats.part import Part
from sovgate.formats.wrap import Context, Wrapped
from sovgate.records import Sized
from sovgate.stages.encrypt.unwrapping import AT_ONCE, release_keys
from tests import pace

CONTEXT = Context(zone="eu", release="kyc/1.0.0", manifest="ab" * 32)


def key_of(number: int) -> bytes:
    return number.to_bytes(wrap.KEY_SIZE)


def a_part(number: int, of: int, *, key_id: str = "eu") -> Part:
    return Part(
        number=number,
        of=of,
        units=None,
        reused=(),
        list=Sized.of(b""),
        keytable=Sized.of(b""),
        recipient=Wrapped(
            key_id=key_id,
            algorithm="made-up",
            wrapped=key_of(number),
            commit=wrap.commit(key_of(number)),
        ),
    )


def some(count: int) -> list[Part]:
    return [a_part(number, count) for number in range(1, count + 1)]


class Service:
    """A zone's key. `answer` is called within each request, with the part's number."""

    key_id, algorithm = "eu", "made-up"

    def __init__(self, answer: Callable[[int], None] = lambda _: None) -> None:
        self._answer, self._lock = answer, threading.Lock()
        self.asked: list[int] = []
        self.open = self.most = 0

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        assert context == CONTEXT.canonical()
        with self._lock:
            self.asked.append(int.from_bytes(wrapped))
            self.open += 1
            self.most = max(self.most, self.open)
        try:
            self._answer(int.from_bytes(wrapped))
        finally:
            with self._lock:
                self.open -= 1
        return wrapped


def refused(reason: str, number: int) -> KeyServiceError:
    return KeyServiceError(f"part {number}", reason=reason)


def test_eight_are_under_way_and_never_a_ninth() -> None:
    together = threading.Barrier(AT_ONCE, timeout=pace.HANG)
    service = Service(lambda _: void(together.wait()))  # nobody goes on before eight are there
    count = parts.MAX_PARTS
    assert release_keys(some(count), CONTEXT, service) == tuple(map(key_of, range(1, count + 1)))
    assert service.most == AT_ONCE == 8
    assert sorted(service.asked) == list(range(1, count + 1))


def void(_: object) -> None: ...


def test_one_part_more_than_a_release_may_have_is_asked_for_by_nobody() -> None:
    service = Service()
    with pytest.raises(VerificationFailed):
        release_keys(some(parts.MAX_PARTS) * 2, CONTEXT, service)
    assert not service.asked


def test_nothing_is_asked_where_one_part_is_for_another_key() -> None:
    service = Service()
    with pytest.raises(KeyServiceError) as caught:
        release_keys([*some(20), a_part(21, 21, key_id="us")], CONTEXT, service)
    assert caught.value.reason == "wrong-key"
    assert not service.asked


def test_the_first_error_in_order_is_told_whichever_came_first() -> None:
    """Part 3 fails when part 6 has: by the clock it is the second."""
    later = threading.Event()

    def answer(number: int) -> None:
        if number == 6:
            later.set()
            raise refused("access-denied", 6)
        if number == 3:
            assert later.wait(pace.HANG)
            raise refused("key-disabled", 3)

    service = Service(answer)
    with pytest.raises(KeyServiceError) as caught:
        release_keys(some(200), CONTEXT, service)
    assert caught.value.what == "part 3"
    assert len(service.asked) < 2 * AT_ONCE  # and none is begun after an error


def test_a_key_that_is_not_the_one_that_was_used_is_told() -> None:
    class Liar(Service):
        def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
            key = super().unwrap(wrapped, context)
            return key if int.from_bytes(wrapped) != 2 else bytes(32)

    with pytest.raises(KeyServiceError) as caught:
        release_keys(some(4), CONTEXT, Liar())
    assert caught.value.reason == "wrong-key"


def test_a_service_that_has_too_many_requests_gets_one_at_a_time() -> None:
    crowd = threading.Barrier(AT_ONCE, timeout=pace.HANG)
    service = Service()
    alone: list[int] = []

    def answer(number: int) -> None:
        if number <= AT_ONCE and number not in alone:
            alone.append(number)
            crowd.wait()
            raise refused("slow-down", number)
        assert service.open == 1

    service._answer = answer
    assert release_keys(some(20), CONTEXT, service) == tuple(map(key_of, range(1, 21)))
    assert service.asked[AT_ONCE:] == list(range(1, 21))  # in order


def test_one_that_stays_too_busy_is_told_as_it_is() -> None:
    def answer(number: int) -> None:
        raise refused("slow-down", number)

    with pytest.raises(KeyServiceError) as caught:
        release_keys(some(20), CONTEXT, Service(answer))
    assert (caught.value.reason, caught.value.what) == ("slow-down", "part 1")


def test_a_signal_waits_for_no_service_that_hangs() -> None:
    hung = threading.Event()
    all_in = threading.Barrier(AT_ONCE, timeout=pace.HANG)

    def answer(_: int) -> None:
        if all_in.wait() == 0:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        hung.wait(pace.HANG)

    service = Service(answer)
    try:
        with pytest.raises(KeyboardInterrupt):
            release_keys(some(20), CONTEXT, service)
        assert service.open == AT_ONCE
    finally:
        hung.set()
