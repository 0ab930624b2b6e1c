"""Every test here runs against the stand-in; with --lab also against real Xen."""

from collections.abc import Iterator

import pytest

from tests.contract.xl.place import LabPlace, Place, StandInPlace


@pytest.fixture(scope="session", params=["stand-in", pytest.param("lab", marks=pytest.mark.lab)])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    if request.param == "stand-in":
        stand_in = StandInPlace(tmp_path_factory.mktemp("xen1"))
        yield stand_in
        stand_in.close()
        return
    from worker.lab import guests, lab

    lab.install_missing()
    (host,) = lab.up(hosts=1, say=print)
    images = guests.build(print, is_debian_wanted=False)
    guests.install(host, images, print)
    minimal = next(image for image in images if image.format == "FILESYSTEM")
    real = LabPlace(host, image=minimal.file, kernel=minimal.kernel, ramdisk=minimal.ramdisk)
    yield real
    real.close()
