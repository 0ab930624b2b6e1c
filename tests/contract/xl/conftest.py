"""Every test here runs against the stand-in; with --lab also against real Xen."""

from collections.abc import Iterator

import pytest

from tests.contract.xl.place import LabPlace, Place, StandInPlace


@pytest.fixture(scope="package", params=["stand-in", pytest.param("lab", marks=pytest.mark.lab)])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    if request.param == "stand-in":
        stand_in = StandInPlace(tmp_path_factory.mktemp("xen1"))
        yield stand_in
        stand_in.close()
        return
    from devtools.lab import guests, lab

    if running := lab.hosts():
        host = running[0]
    else:
        lab.install_missing()
        (host,) = lab.up(hosts=1, say=print)
    # All of them, as `make up` has it: what it built is found again.
    minimal = next(image for image in guests.build(print) if image.file.startswith("minimal-"))
    guests.install(host, [minimal], print)
    real = LabPlace(host, image=minimal.file, kernel=minimal.kernel, ramdisk=minimal.ramdisk)
    yield real
    real.close()
