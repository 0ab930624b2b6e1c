"""Making a machine: what the owner gets, and what is left behind when it goes wrong."""

import json
import os
import threading
import time
from pathlib import Path

import pytest

from tests.worker.console_bench import wait_for
from tests.worker.worker_host import HASH, KEY, WorkerHost, cat, changed, digest, mode_of, run
from worker.agent import executor
from worker.agent.recovery import Reconciler
from worker.contract import DiskSpec, NicSpec


def _content(path: Path) -> bytes:
    """What is in a file; one that is being written gets its name, or goes, while it is looked at."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return path.with_name(path.name.removeprefix(".").removesuffix(".new")).read_bytes()


class TestCreate:
    def test_a_machine_reaches_its_login_prompt(self, worker_host: WorkerHost) -> None:
        dom0, machine = worker_host.dom0(), worker_host.machine()
        end = worker_host.do(dom0, "create", machine)
        assert (end.event, end.error_message, end.power, end.progress) == ("SUCCEEDED", "", "RUNNING", 100)
        assert worker_host.domains() == [machine.id]
        steps = [report.step for report in worker_host.reports]
        in_order = list(dict.fromkeys(step for step in steps if step))
        assert in_order == [
            *("ACCEPT", "TEMPLATE", "DISK", "SEED", "CONFIG", "DOMAIN", "KERNEL", "INIT", "LOGIN")
        ]
        assert worker_host.reports[0].event == "STARTED"
        sequence = [report.sequence for report in worker_host.reports]
        assert sequence == sorted(set(sequence))
        progress = [report.progress for report in worker_host.reports]
        assert progress == sorted(progress)

    def test_its_disk_is_the_template_grown_and_seeded(self, worker_host: WorkerHost) -> None:
        machine = worker_host.machine()
        assert worker_host.do(worker_host.dom0(), "create", machine).event == "SUCCEEDED"
        disk = worker_host.disk(machine)
        assert disk.stat().st_size == 16 << 20
        assert cat(disk, "/etc/hostname") == "alices-box\n"
        assert cat(disk, "/root/.ssh/authorized_keys") == f"{KEY}\n"
        assert mode_of(disk, "/root/.ssh/authorized_keys") == "0600"
        assert mode_of(disk, "/root/.ssh") == "0700"
        shadow = cat(disk, "/etc/shadow").splitlines()
        assert shadow == [f"root:{HASH}:19000:0:99999:7:::", "daemon:*:19000:0:99999:7:::"]
        assert mode_of(disk, "/etc/shadow") == "0640"
        assert "address 10.0.2.101/24" in cat(disk, "/etc/network/interfaces")
        assert "Gateway=10.0.2.2" in cat(disk, "/etc/systemd/network/10-webxen.network")
        assert cat(disk, "/etc/webxen/seed.env").splitlines()[:2] == [
            "HOSTNAME=alices-box",
            "IPV4=10.0.2.101",
        ]
        assert cat(disk, "/etc/resolv.conf") == "nameserver 10.0.2.3\n"
        run("e2fsck", "-f", "-n", str(disk))

    def test_the_template_stays_as_it_was(self, worker_host: WorkerHost) -> None:
        machine = worker_host.machine()
        worker_host.do(worker_host.dom0(), "create", machine)
        assert digest(worker_host.settings.images_dir / "minimal.ext4") == machine.image.sha256

    def test_a_second_disk_is_blank_and_as_large_as_asked(self, worker_host: WorkerHost) -> None:
        disks = (DiskSpec("root", "local", 16, "xvda"), DiskSpec("data", "local", 20, "xvdb"))
        machine = worker_host.machine(disks=disks)
        assert worker_host.do(worker_host.dom0(), "create", machine).event == "SUCCEEDED"
        assert worker_host.disk(machine, "data").stat().st_size == 20 << 20
        assert not worker_host.disk(machine, "data").read_bytes().strip(b"\0")

    def test_pvh_where_the_processor_can_and_pv_where_not(self, worker_host: WorkerHost) -> None:
        dom0, machine = worker_host.dom0(), worker_host.machine()
        worker_host.do(dom0, "create", machine)
        assert "type = 'pvh'" in worker_host.settings.machine_config(machine.id).read_text()
        other = worker_host.machine(type="PV")
        worker_host.do(dom0, "create", other)
        assert "type = 'pv'" in worker_host.settings.machine_config(other.id).read_text()

    def test_a_seed_disk_is_attached_where_the_image_wants_one(self, worker_host: WorkerHost) -> None:
        machine = worker_host.machine(worker_host.template(seed="NOCLOUD"))
        assert worker_host.do(worker_host.dom0(), "create", machine).event == "SUCCEEDED"
        iso = worker_host.settings.machine_dir(machine.id) / "seed.iso"
        assert iso.read_bytes()[0x8001:0x8006] == b"CD001"
        assert b"alices-box" in iso.read_bytes()
        assert f"target={iso}" in worker_host.settings.machine_config(machine.id).read_text()

    def test_no_password_hash_stays_in_the_journal(self, worker_host: WorkerHost) -> None:
        order = worker_host.order("create", worker_host.machine())
        worker_host.obey(worker_host.dom0(), order)
        everything = b"".join(map(_content, worker_host.settings.journal_dir.iterdir()))
        assert HASH.encode() not in everything
        assert KEY.encode() not in everything

    def test_news_of_the_disk_is_not_more_than_four_a_second(self, worker_host: WorkerHost) -> None:
        machine = worker_host.machine(disks=(DiskSpec("root", "local", 300, "xvda"),))
        path = worker_host.settings.images_dir / "minimal.ext4"
        with path.open("r+b") as image:  # real data, so that there is something to copy
            image.seek(8 << 20)
            image.write(os.urandom(64 << 20))
        end = worker_host.do(
            worker_host.dom0(), "create", changed(machine, image=changed(machine.image, sha256=digest(path)))
        )
        told = [report for report in worker_host.reports if report.step == "DISK"]
        assert end.event == "SUCCEEDED", end
        assert 1 <= len(told) <= 12


class TestCreateFails:
    def fails(self, worker_host: WorkerHost, machine: object, code: str, **values: object) -> str:
        """It ends with this code, and nothing of the machine is left."""
        end = worker_host.do(worker_host.dom0(), "create", machine, **values)  # type: ignore[arg-type]
        assert (end.event, end.error_code) == ("FAILED", code), end
        assert end.power in ("OFF", "UNKNOWN")
        assert worker_host.files_of(machine) == []  # type: ignore[arg-type]
        return end.error_message

    def test_when_the_template_is_missing(self, worker_host: WorkerHost) -> None:
        machine = worker_host.machine()
        gone = changed(machine, image=changed(machine.image, file="gone.ext4"))
        assert "gone.ext4" in self.fails(worker_host, gone, "IMAGE_MISSING")
        assert worker_host.domains() == []

    def test_when_the_template_is_another_one(self, worker_host: WorkerHost) -> None:
        machine = worker_host.machine()
        with (worker_host.settings.images_dir / "minimal.ext4").open("ab") as image:
            image.write(b"x")
        self.fails(worker_host, machine, "IMAGE_DIGEST")

    def test_when_the_template_changed_after_its_digest_was_known(self, worker_host: WorkerHost) -> None:
        dom0, machine = worker_host.dom0(), worker_host.machine()
        assert worker_host.do(dom0, "create", machine).event == "SUCCEEDED"
        with (worker_host.settings.images_dir / "minimal.ext4").open("r+b") as image:
            image.write(b"x")
        self.fails(worker_host, worker_host.machine(machine.image), "IMAGE_DIGEST")

    def test_when_the_disk_is_smaller_than_the_image(self, worker_host: WorkerHost) -> None:
        self.fails(
            worker_host, worker_host.machine(disks=(DiskSpec("root", "local", 4, "xvda"),)), "DISK_TOO_SMALL"
        )

    def test_when_the_kernel_is_missing(self, worker_host: WorkerHost) -> None:
        self.fails(worker_host, worker_host.machine(worker_host.template(kernel="none")), "KERNEL_MISSING")

    def test_when_the_pool_is_unknown(self, worker_host: WorkerHost) -> None:
        self.fails(
            worker_host, worker_host.machine(disks=(DiskSpec("root", "gold", 16, "xvda"),)), "POOL_UNKNOWN"
        )

    def test_when_there_is_no_memory(self, worker_host: WorkerHost) -> None:
        message = self.fails(worker_host, worker_host.machine(memory_mib=60000), "NO_MEMORY")
        assert "58.59 GiB" in message
        assert worker_host.domains() == []

    def test_when_a_stranger_has_the_name(self, worker_host: WorkerHost) -> None:
        dom0, first = worker_host.dom0(), worker_host.machine()
        worker_host.do(dom0, "create", first)
        before = worker_host.disk(first).stat()
        self.fails(worker_host, worker_host.machine(domain=first.domain), "NAME_TAKEN")
        assert worker_host.domains() == [first.id]
        assert worker_host.disk(first).stat().st_ino == before.st_ino

    def test_when_xl_is_broken(self, worker_host: WorkerHost) -> None:
        worker_host.stand_in.lay_out(create={"exit": 1, "stderr": "libxl: error: something new\n"})
        assert "something new" in self.fails(worker_host, worker_host.machine(), "XL_FAILED")

    def test_when_no_login_prompt_comes(self, worker_host: WorkerHost) -> None:
        worker_host.stand_in.lay_out(guest={"no_login": True})
        machine = worker_host.machine()
        end = worker_host.do(worker_host.dom0(), "create", machine, deadline_seconds=12)
        assert (end.event, end.error_code, end.step) == ("FAILED", "NO_LOGIN_PROMPT", "INIT")
        assert "Linux version" in end.console_tail
        assert "\x1b" not in end.console_tail
        assert len(end.console_tail.splitlines()) <= 40
        assert worker_host.domains() == []
        assert worker_host.files_of(machine) == []

    def test_when_the_list_of_domains_cannot_be_read_and_cleans_up_later(
        self, worker_host: WorkerHost
    ) -> None:
        worker_host.stand_in.lay_out(list={"empty": True})
        dom0, machine = worker_host.dom0(), worker_host.machine()
        end = worker_host.do(dom0, "create", machine)
        assert (end.event, end.error_code, end.is_retryable) == ("FAILED", "XL_UNREADABLE", True)

    def test_when_the_domain_it_must_remove_cannot_be_seen(self, worker_host: WorkerHost) -> None:
        """The disk of a domain that may still run is not taken away; it goes when xl answers again."""
        dom0, machine = worker_host.dom0(), worker_host.machine()
        worker_host.stand_in.lay_out(guest={"no_login": True})
        order = worker_host.order("create", machine, deadline_seconds=15)

        def spoil() -> None:
            wait_for(lambda: any(r.step == "KERNEL" for r in worker_host.reports), "the kernel", 20)
            worker_host.stand_in.lay_out(list={"empty": True}, guest={"no_login": True})

        thread = threading.Thread(target=spoil)
        thread.start()
        executor.obey(dom0, worker_host.envelope(order), now=int(time.time()))
        thread.join()
        assert worker_host.disk(machine).exists()
        # not before it is cleaned up has the job ended: the portal would give its memory to another
        wait_for(lambda: worker_host.reports[-1].step == "CLEANING", "the news of it")
        worker_host.stand_in.lay_out()
        Reconciler(dom0).look()
        assert worker_host.end_of(order.job_id).event == "FAILED"
        assert worker_host.files_of(machine) == []
        assert worker_host.domains() == []

    def test_when_a_disk_of_that_machine_is_there_which_it_did_not_make(
        self, worker_host: WorkerHost
    ) -> None:
        machine = worker_host.machine()
        worker_host.disk(machine).parent.mkdir()
        worker_host.disk(machine).write_bytes(b"precious")
        end = worker_host.do(worker_host.dom0(), "create", machine)
        assert (end.event, end.error_code) == ("FAILED", "DISK_TAKEN")
        assert worker_host.disk(machine).read_bytes() == b"precious"

    def test_when_xl_says_no_but_the_domain_runs_it_is_made(self, worker_host: WorkerHost) -> None:
        worker_host.stand_in.lay_out(create={"at": "done", "exit": 1, "stderr": "libxl: error: late\n"})
        machine = worker_host.machine()
        end = worker_host.do(worker_host.dom0(), "create", machine)
        assert end.event == "SUCCEEDED", end.error_message
        assert worker_host.domains() == [machine.id]


class TestIdentifiers:
    @pytest.mark.parametrize(
        "spoil",
        [
            lambda machine: changed(machine, id="../../etc"),
            lambda machine: changed(machine, disks=(DiskSpec("../root", "local", 16, "xvda"),)),
            lambda machine: changed(machine, image=changed(machine.image, file="../../../etc/shadow")),
            lambda machine: changed(machine, image=changed(machine.image, kernel="../x")),
            lambda machine: changed(machine, nics=(NicSpec("00:16:3e:00:00:01", "xenbr0", "1.2.3.4;x", 24),)),
            lambda machine: changed(machine, domain="x';bootloader='/bin/sh"),
            lambda machine: changed(machine, domain="Domain-0"),
            lambda machine: changed(machine, disks=()),
            lambda machine: changed(machine, cpu_hidden="0'; bootloader='/bin/sh"),
        ],
    )
    def test_nothing_is_made_of_an_order_with_a_bad_one(self, worker_host: WorkerHost, spoil: object) -> None:
        machine = spoil(worker_host.machine())  # type: ignore[operator]
        end = worker_host.do(worker_host.dom0(), "create", machine)
        assert end.event == "FAILED"
        assert end.error_code in ("ORDER_REFUSED", "CONFIG_REFUSED")
        assert list(worker_host.settings.disks_dir.iterdir()) == []
        assert list(worker_host.settings.machines_dir.iterdir()) == []
        assert worker_host.domains() == []


class TestWhatIsWrittenDown:
    def test_machine_json_names_the_disks(self, worker_host: WorkerHost) -> None:
        machine = worker_host.machine()
        order = worker_host.order("create", machine)
        worker_host.obey(worker_host.dom0(), order)
        facts = json.loads(worker_host.settings.machine_facts(machine.id).read_text())
        assert facts == {
            "id": machine.id,
            "domain": machine.domain,
            "disks": [["local", "root"]],
            "job_id": order.job_id,
        }

    def test_other_users_of_the_host_cannot_read_disks(self, worker_host: WorkerHost) -> None:
        machine = worker_host.machine()
        worker_host.do(worker_host.dom0(), "create", machine)
        assert Path(worker_host.disk(machine)).stat().st_mode & 0o077 == 0
        assert worker_host.disk(machine).parent.stat().st_mode & 0o077 == 0
