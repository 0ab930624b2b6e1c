"""A dead host switched off by its fence agent: what the agent says decides, and nothing else."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from tests.fixture_cache import shared
from tests.fixtures import orderer, report
from tests.moves import domain, show
from webxen.core.errors import NotFoundError
from webxen.core.fences import Fence
from webxen.core.models import AuditEntry
from webxen.fleet import failover, fencing
from webxen.fleet.models import Fencing
from webxen.jobs.models import Job
from webxen.machines.models import Machine

PASSWORD = "not-for-anybody"
#: writes down what it is told, then does what its `moves` say for `off` and for `status`
AGENT = """#!/bin/sh
told=$(cat)
printf '%s\\n--\\n' "$told" >> "{folder}/told"
env >> "{folder}/environment"
echo "$# arguments" >> "{folder}/arguments"
case "$told" in
*action=off*) {off} ;;
*action=status*) {status} ;;
esac
"""
SAYS_OFF = 'echo "Status: OFF"; exit 2'

Writer = Callable[..., Path]


@shared
def two(lab, alice, minimal, small, lan, pair, web1):
    """web1 and web2 run on xen1; xen2 sees their disks, too."""
    job = orderer(lab=lab, alice=alice, minimal=minimal, small=small, lan=lan)("web2", host_name="xen1")
    report(job, "SUCCEEDED", power="RUNNING", config="type = 'pvh'")
    made = [web1, Machine.objects.get(id=job.machine_id)]
    show(pair[0], *(domain(machine) for machine in made))
    return made


@pytest.fixture
def later(two: Any, pair: Any, now: Any) -> Any:
    """xen1 has said nothing for a minute; xen2 has."""
    at = now + timedelta(seconds=60)
    show(pair[1], now=at)
    return at


@pytest.fixture
def agent(tmp_path: Path, settings: Any) -> Writer:
    """Write the agent of xen1, which does as the test says."""
    settings.WEBXEN_FENCE_DIR = tmp_path
    told = (("ip", "10.0.0.11"), ("password", PASSWORD), ("lanplus", "1"))
    settings.WEBXEN_FENCES = {"xen1": Fence("fence_test", told)}

    def write(*, off: str = 'echo "Success: Powered OFF"; exit 0', status: str = SAYS_OFF) -> Path:
        path = tmp_path / "fence_test"
        path.write_text(AGENT.format(folder=tmp_path, off=off, status=status))
        path.chmod(0o755)
        return tmp_path

    return write


@pytest.fixture
def fence_it(dana: Any, pair: Any, later: Any) -> Callable[[], Fencing]:
    """dana presses the button, and the reports process does its part."""

    def press() -> Fencing:
        fencing.ask(user=dana, host_id=pair[0].id, now=later)
        for claimed in fencing.claim(now=later):
            evidence = fencing.use_agent(fencing=claimed)
            fencing.conclude(fencing_id=claimed.id, evidence=evidence, now=later)
        return Fencing.objects.get()

    return press


def nothing_was_started() -> bool:
    return not Job.objects.filter(kind="START").exists() and not Machine.objects.exclude(host__name="xen1")


class TestAnAgentThatSaysOff:
    def test_lets_the_machines_start_elsewhere_by_the_door_of_the_words(
        self, agent, fence_it, two, pair, dana, mailbox
    ):
        agent()
        before = {machine.id: machine.fence for machine in two}
        done = fence_it()
        assert (done.phase, done.off_exit, done.status_exit, done.machines_started) == ("OFF", 0, 2, 2)
        assert done.said == "Success: Powered OFF\nStatus: OFF"
        for job in Job.objects.filter(kind="START"):
            machine = Machine.objects.get(id=job.machine_id)
            assert (machine.host, machine.fence) == (pair[1], before[machine.id] + 1)
            # what moved cannot start on the old host: its lease may be broken, its fence is older
            assert (job.takes_over_from, job.requested_by) == ("xen1", dana)
            assert job.events.get(event="RESTARTED").message == "xen1 is off, confirmed by fence_test"

    def test_stands_in_the_audit_with_its_evidence(self, agent, fence_it, dana):
        agent()
        fence_it()
        lines = {entry.action: entry for entry in AuditEntry.objects.filter(target_kind="host", actor=dana)}
        assert lines["FENCING_ASKED"].detail == "fence_test"
        assert lines["HOST_FENCED"].detail == (
            "fence_test exited with 0 for “off” and 2 for “status”. Success: Powered OFF Status: OFF"
        )
        assert lines["RESTARTED_ELSEWHERE"].detail == "fence_test: 2 machines are started on other hosts"
        assert "HOST_SAID_OFF" not in lines

    def test_is_told_on_its_standard_input_alone(self, agent, fence_it, monkeypatch):
        monkeypatch.setenv("WEBXEN_SECRET_KEY_OF_A_TEST", "x")
        folder = agent()
        fence_it()
        asked = (folder / "told").read_text().split("\n--\n")
        told = f"ip=10.0.0.11\npassword={PASSWORD}\nlanplus=1"
        assert asked == [f"{told}\naction=off", f"{told}\naction=status", ""]
        assert set((folder / "arguments").read_text().split("\n")) == {"0 arguments", ""}
        assert "WEBXEN" not in (folder / "environment").read_text()
        assert PASSWORD not in (folder / "environment").read_text()

    def test_keeps_its_password_to_itself(self, agent, fence_it):
        agent(off=f'echo "login with {PASSWORD}"; exit 0')
        assert fence_it().said.startswith("login with ***")
        assert not AuditEntry.objects.filter(detail__contains=PASSWORD).exists()

    def test_starts_nothing_where_nothing_can_start_and_says_why(self, agent, fence_it, pair, later):
        show(pair[1], now=later, facts={"free_memory": "100"})
        agent()
        done = fence_it()
        assert (done.phase, done.machines_started) == ("OFF", 0)
        assert done.why == "No machine of xen1 can start on another host now."
        assert nothing_was_started()


LIES = "fence_test reports that the host is still on."
NOT_OFF = (
    "fence_test exited with {} when asked for the power status, which does not confirm that the host is off."
)


def state_of(pid: str) -> str:
    """As in proc(5); "" when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


class TestAnAgentThatIsNotBelieved:
    @pytest.mark.parametrize(
        ("moves", "why"),
        [
            (
                {"off": "echo Failed: Timed out; exit 1"},
                "fence_test exited with 1 when asked to switch the host off.",
            ),
            ({"off": "exit 2"}, "fence_test exited with 2 when asked to switch the host off."),
            ({"status": "echo Status: ON; exit 0"}, LIES),
            ({"status": "exit 0"}, LIES),
            ({"status": "echo Status: OFF; exit 0"}, LIES),
            ({"status": "exit 1"}, NOT_OFF.format(1)),
            ({"status": "echo Status: ON; exit 2"}, NOT_OFF.format(2)),
            ({"status": "echo Status: OFF; echo Status: ON; exit 2"}, NOT_OFF.format(2)),
            ({"status": "echo Status: OFFLINE; exit 2"}, NOT_OFF.format(2)),
            ({"status": "echo I do not know whether Status: OFF; exit 2"}, NOT_OFF.format(2)),
            ({"status": "exit 2"}, NOT_OFF.format(2)),
            # this is how the library ends when a parameter is wrong
            ({"status": "echo Failed: You have to enter plug number; exit 2"}, NOT_OFF.format(2)),
            ({"status": "head -c 300000 /dev/urandom; exit 2"}, NOT_OFF.format(2)),
            ({"status": "kill -9 $$"}, NOT_OFF.format(-9)),
        ],
    )
    def test_starts_nothing(self, moves, why, agent, fence_it):
        agent(**moves)
        done = fence_it()
        assert (done.phase, done.why, done.machines_started) == ("FAILED", why, 0)
        assert nothing_was_started()
        assert why in AuditEntry.objects.get(action="HOST_NOT_FENCED").detail

    def test_is_not_asked_whether_it_is_off_when_it_could_not_switch(self, agent, fence_it):
        folder = agent(off="echo Failed: Unable to connect; exit 1")
        done = fence_it()
        assert (done.off_exit, done.status_exit, done.said) == (1, None, "Failed: Unable to connect")
        assert "action=status" not in (folder / "told").read_text()

    @pytest.mark.parametrize("action", ["off", "status"])
    def test_is_stopped_when_it_hangs_with_all_that_it_started(self, action, agent, fence_it, settings):
        settings.WEBXEN_FENCE_SECONDS = 2
        folder = agent(
            **{action: 'sleep 600 & echo $! > "{folder}/child"; wait'.format(folder="$(dirname $0)")}
        )
        done = fence_it()
        assert (done.phase, done.why) == ("FAILED", "fence_test did not finish within 2 s and was stopped.")
        assert nothing_was_started()
        child = (folder / "child").read_text().strip()
        # it was sent SIGKILL with the others; the kernel may take a moment, and nobody may have reaped it
        until = time.monotonic() + 30
        while (state := state_of(child)) not in ("", "Z"):
            assert time.monotonic() < until, state
            time.sleep(0.05)

    def test_is_missing(self, agent, fence_it):
        assert fence_it().why == "fence_test is not installed on the portal's machine."
        assert nothing_was_started()

    def test_is_no_program(self, agent, fence_it):
        (agent() / "fence_test").chmod(0o600)
        assert fence_it().why == "fence_test cannot be started on the portal's machine."

    def test_speaks_too_late(self, agent, fence_it, dana, pair, later, settings):
        """The portal gave it up meanwhile: what it says then starts nothing."""
        agent()
        fencing.ask(user=dana, host_id=pair[0].id, now=later)
        (claimed,) = fencing.claim(now=later)
        much_later = later + timedelta(seconds=2 * settings.WEBXEN_FENCE_SECONDS + 31)
        assert fencing.claim(now=much_later) == []
        evidence = fencing.use_agent(fencing=claimed)
        fencing.conclude(fencing_id=claimed.id, evidence=evidence, now=much_later)
        assert Fencing.objects.get().why == (
            "The portal was stopped meanwhile, so it is not known what the agent did."
        )
        assert nothing_was_started()


class TestNoAgentIsAsked:
    def test_of_a_host_that_is_heard(self, agent, dana, pair, now, two):
        agent()
        with pytest.raises(failover.HostHeardError):
            fencing.ask(user=dana, host_id=pair[0].id, now=now)

    def test_of_a_host_that_came_back_meanwhile(self, agent, dana, pair, later, two):
        folder = agent()
        fencing.ask(user=dana, host_id=pair[0].id, now=later)
        show(pair[0], *(domain(machine) for machine in two), now=later)
        assert fencing.claim(now=later) == []
        assert Fencing.objects.get().why == "xen1 was in contact a moment ago. Move its machines instead."
        assert not (folder / "told").exists()

    def test_when_nobody_took_the_wish_up_in_time(self, agent, dana, pair, later):
        agent()
        fencing.ask(user=dana, host_id=pair[0].id, now=later)
        assert fencing.claim(now=later + timedelta(seconds=61)) == []
        assert Fencing.objects.get().phase == "FAILED"

    def test_twice_at_a_time(self, agent, dana, pair, later):
        fencing.ask(user=dana, host_id=pair[0].id, now=later)
        with pytest.raises(fencing.FencingOpenError):
            fencing.ask(user=dana, host_id=pair[0].id, now=later)
        assert len(fencing.claim(now=later)) == 1
        assert fencing.claim(now=later) == []

    def test_of_a_host_that_has_none(self, dana, pair, later):
        with pytest.raises(fencing.NoFenceError):
            fencing.ask(user=dana, host_id=pair[0].id, now=later)

    def test_for_charlie_or_alice(self, agent, charlie, alice, elsewhere, pair, later):
        for person in (charlie, alice):
            with pytest.raises(NotFoundError):
                fencing.ask(user=person, host_id=pair[0].id, now=later)

    def test_or_believed_when_who_wanted_it_is_no_staff_any_more(self, agent, dana, pair, later):
        agent()
        fencing.ask(user=dana, host_id=pair[0].id, now=later)
        (claimed,) = fencing.claim(now=later)
        type(dana).objects.filter(id=dana.id).update(is_staff=False)
        evidence = fencing.use_agent(fencing=claimed)
        fencing.conclude(fencing_id=claimed.id, evidence=evidence, now=later)
        assert Fencing.objects.get().machines_started == 0
        assert nothing_was_started()


class TestAHostHeardAfterItWasSaidToBeOff:
    def test_is_not_believed_to_be(self, agent, dana, pair, later, two):
        """The agent switched another plug."""
        agent()
        fencing.ask(user=dana, host_id=pair[0].id, now=later)
        (claimed,) = fencing.claim(now=later)
        evidence = fencing.use_agent(fencing=claimed)
        show(pair[0], *(domain(machine) for machine in two), now=later)
        fencing.conclude(fencing_id=claimed.id, evidence=evidence, now=later)
        assert Fencing.objects.get().why == "xen1 was in contact a moment ago. Move its machines instead."
        assert nothing_was_started()

    def test_old_evidence_starts_nothing(self, agent, fence_it, later, dana):
        agent(status="exit 0")
        failed = fence_it()
        with pytest.raises(failover.NotProvenError):
            failover.restart_fenced(fencing=failed, now=later)
        Fencing.objects.update(phase="OFF")
        failed.refresh_from_db()
        with pytest.raises(failover.NotProvenError):
            failover.restart_fenced(fencing=failed, now=later + timedelta(seconds=1))
        assert nothing_was_started()


class TestFenceStatus:
    def test_asks_each_agent_and_switches_nothing(self, agent, capsys):
        folder = agent(status="echo Status: ON; exit 0")
        call_command("fence_status")
        assert capsys.readouterr().out == "xen1: fence_test: on\n"
        assert "action=off" not in (folder / "told").read_text()

    def test_says_who_does_not_answer(self, agent, capsys):
        with pytest.raises(SystemExit):
            call_command("fence_status", "xen1")
        assert "not installed" in capsys.readouterr().out

    def test_knows_no_other_host(self, agent):
        with pytest.raises(CommandError, match="xen9"):
            call_command("fence_status", "xen9")
