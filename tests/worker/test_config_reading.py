"""Reading xl and xm configurations, as Xen's own parser reads them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.xen import config, libxlutil

needs_xlutil = pytest.mark.skipif(
    not libxlutil.library_path(),
    reason="Xen's parser is not installed: apt-get install libxenmisc4.17 or 4.20",
)
XM = """
# an old guest, written for xm
kernel  = "/boot/vmlinuz-2.6.18-xen"
ramdisk = "/boot/initrd-2.6.18-xen.img"
memory  = '256'; maxmem = 512
name    = "old-web"
vif     = [ 'mac=00:16:3E:AA:BB:CC, bridge=xenbr1, ip=192.168.1.5', '' ]
disk    = [ 'file:/srv/xen/old.img,hda1,w',
            'phy:/dev/vg0/swap,hda2,w', ]
root    = "/dev/hda1 ro"
extra   = '4 TERM=xterm'
on_crash = 'preserve'
"""


class TestFacts:
    def test_an_xm_configuration(self) -> None:
        facts = config.facts_of(config.parse(XM))
        assert (facts.name, facts.type, facts.memory_mib, facts.maxmem_mib, facts.vcpus) == (
            *("old-web", "PV", 256, 512, 1),
        )
        assert facts.cmdline == "root=/dev/hda1 ro 4 TERM=xterm"
        assert facts.disks == (
            config.DiskFact("/srv/xen/old.img", "hda1", "raw", is_writable=True),
            config.DiskFact("/dev/vg0/swap", "hda2", "raw", is_writable=True),
        )
        assert facts.nics == (
            config.NicFact("00:16:3e:aa:bb:cc", "xenbr1", "192.168.1.5"),
            config.NicFact("", "xenbr0", ""),
        )
        assert (facts.on_reboot, facts.on_crash) == ("restart", "preserve")

    @pytest.mark.parametrize(
        ("line", "fact"),
        [
            ("/x.img,raw,xvda,rw", ("/x.img", "xvda", "raw", True)),
            ("/x.img,,xvda,r", ("/x.img", "xvda", "raw", False)),
            ("/x.qcow2,qcow2,xvdb", ("/x.qcow2", "xvdb", "qcow2", True)),
            ("format=raw, vdev=xvda, access=ro, target=/a,b.img", ("/a,b.img", "xvda", "raw", False)),
            ("vdev=hdc,access=r,devtype=cdrom,target=/x.iso", ("/x.iso", "hdc", "raw", False)),
            ("tap:aio:/x.img,xvda1,w", ("/x.img", "xvda1", "raw", True)),
            ("file:/x.iso,hdc:cdrom,r", ("/x.iso", "hdc", "raw", False)),
        ],
    )
    def test_disks_in_every_dialect(self, line: str, fact: tuple[str, str, str, bool]) -> None:
        disk = config.read_disk(line)
        assert (disk.target, disk.vdev, disk.format, disk.is_writable) == fact

    @pytest.mark.parametrize(
        "line", ["", "/x.img", "/x,raw,xvda,w,more", "phy:/x,xvda,w!", "vdev=xvda,access=q"]
    )
    def test_a_disk_that_cannot_be_read_is_an_error(self, line: str) -> None:
        with pytest.raises(config.BadConfig):
            config.read_disk(line)

    @pytest.mark.parametrize("text", ["memory = 'much'", "name = ['a']", "type = 'vmware'"])
    def test_what_makes_no_sense_is_an_error(self, text: str) -> None:
        with pytest.raises(config.BadConfig):
            config.facts_of(config.parse(text))


PIECES = st.sampled_from(
    [
        *("name", "memory", "disk", "a_b", "=", "+=", "'a'", '"b c"', "'x;y#z'", "'", '"', "[", "]", ","),
        *("\n", ";", " ", "\t", "#c\n", "10", "0x1f", "0x1F", "'\\''", "'\\\\'", "'\\n'", "'\\x41'", "\\\n"),
        *("'\\101'", "'é'", "-", "(", ")", "1a", "a.b", "'a\nb'", "\r\n", "_q", "010"),
        *("name = ", "disk = [", "disk += ["),
    ]
)


@needs_xlutil
class TestAgreement:
    @settings(max_examples=1500, deadline=None)
    @given(st.lists(PIECES, max_size=9).map("".join))
    def test_text_is_refused_or_read_as_xen_reads_it(self, text: str) -> None:
        try:
            ours = config.parse(text)
        except config.BadConfig:
            return
        assert ours == libxlutil.parse(text.encode())

    def test_an_old_configuration_is_read_as_xen_reads_it(self) -> None:
        assert config.parse(XM) == libxlutil.parse(XM.encode())
