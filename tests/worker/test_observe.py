"""How often xl is asked for what a host says of itself."""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from worker.job.quiet import QuietPeriod
from worker.observe import observer
from worker.settings import read
from worker.xen.xl import Domain, XlError


@dataclass
class Xen:
    """Answers, counts how often it is asked, and may be broken."""

    asked: list[str] = field(default_factory=list)
    is_broken: bool = False
    found: tuple[Domain, ...] = ()
    written: dict[int, dict[str, Any]] = field(default_factory=dict)

    def info(self) -> dict[str, str]:
        self._ask("info")
        return {"free_memory": str(len(self.asked))}

    def domains(self) -> tuple[Domain, ...]:
        self._ask("list")
        return self.found

    def configs(self) -> dict[int, dict[str, Any]]:
        self._ask("list -l")
        return self.written

    def _ask(self, verb: str) -> None:
        self.asked.append(verb)
        if self.is_broken:
            raise XlError(f"xl {verb} failed")


def domain(flags: str) -> Domain:
    return Domain(3, "web1", "0" * 8, 128, 1, flags, 1.0)


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


class TestRecent:
    def test_xl_is_asked_once_while_nothing_changes(self) -> None:
        xen, clock = Xen(), Clock()
        recent = observer.CachedXl(xen, clock=clock)
        first = recent.info(), recent.domains()
        clock.now += observer.DOMAINS_SECONDS - 0.1
        assert (recent.info(), recent.domains()) == first
        assert xen.asked == ["info", "list"]

    def test_what_is_old_is_asked_anew(self) -> None:
        xen, clock = Xen(), Clock()
        recent = observer.CachedXl(xen, clock=clock)
        recent.info(), recent.domains()
        clock.now += observer.DOMAINS_SECONDS
        recent.info(), recent.domains()
        assert xen.asked == ["info", "list", "list"]
        clock.now += observer.FACTS_SECONDS - observer.DOMAINS_SECONDS
        recent.info()
        assert xen.asked == ["info", "list", "list", "info"]

    def test_a_domain_that_stands_still_is_looked_at_until_it_goes_on(self) -> None:
        """An arriving machine is paused until its GO, which no watch tells of."""
        xen = Xen(found=(domain("--p---"),))
        recent = observer.CachedXl(xen)
        assert [recent.domains()[0].power for _ in range(2)] == ["PAUSED"] * 2
        xen.found = (domain("-b----"),)
        assert [recent.domains()[0].power for _ in range(2)] == ["RUNNING"] * 2
        assert xen.asked == ["list"] * 3

    def test_a_change_makes_all_old(self) -> None:
        xen = Xen()
        recent = observer.CachedXl(xen)
        recent.info(), recent.domains()
        recent.forget()
        recent.info(), recent.domains()
        assert xen.asked == ["info", "list"] * 2

    def test_an_error_is_not_kept_and_hides_behind_no_older_answer(self) -> None:
        xen, clock = Xen(), Clock()
        recent = observer.CachedXl(xen, clock=clock)
        recent.domains()
        clock.now += observer.DOMAINS_SECONDS
        xen.is_broken = True
        for _ in range(2):
            with pytest.raises(XlError):
                recent.domains()
        xen.is_broken = False
        assert recent.domains() == ()
        assert xen.asked == ["list"] * 4


def wait_for_bell(bell: observer.XenstoreWatcher, heard: threading.Event) -> None:
    bell.wait(60)
    heard.set()


class TestXenstoreWatcher:
    def test_a_ring_is_heard_when_the_quiet_period_is_over(self, tmp_path: Path) -> None:
        quiet = QuietPeriod(linger_seconds=0)
        env = {"WEBXEN_HOST": "xen1", "WEBXEN_XENSTORE_DIR": str(tmp_path), "WEBXEN_STATE_DIR": str(tmp_path)}
        bell = observer.XenstoreWatcher(read(env, needs_broker=False), quiet=quiet)
        heard = threading.Event()
        with quiet.hold():
            bell.ring()
            threading.Thread(target=wait_for_bell, args=(bell, heard), daemon=True).start()
            assert not heard.wait(3 * observer.SETTLE_SECONDS)
        assert heard.wait(10)

    def test_a_ring_that_the_quiet_period_outlasts_is_kept(self, tmp_path: Path) -> None:
        quiet = QuietPeriod(linger_seconds=0)
        watch = tmp_path / "xenstore-watch"
        watch.write_text("#!/bin/sh\necho one\nexec sleep 5\n")
        watch.chmod(0o755)
        env = {"WEBXEN_HOST": "xen1", "WEBXEN_XENSTORE_DIR": str(tmp_path), "WEBXEN_STATE_DIR": str(tmp_path)}
        bell = observer.XenstoreWatcher(read(env, needs_broker=False), quiet=quiet)
        while not bell._is_listening:
            bell.wait(0.1)
        watch.unlink()  # it is not started again
        with quiet.hold():
            bell.ring()
            # what was seen before is told once more: nothing is looked at anew
            assert not bell.wait(0.1)
            assert not bell.wait(0.1)
        assert bell.wait(0.1)
