"""Garbage in front of every parser of the worker: a typed answer or the documented refusal, nothing else.

A list that cannot be read is never an empty list: "no domains" would start a machine twice.
"""

import io
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devtools.fakexl import printing
from devtools.fakexl.settings import Settings as Look
from devtools.fakexl.state import Domain, State
from worker.errors import WorkerError
from worker.images import tarball
from worker.job.journal import Entry, Journal
from worker.listener import queues
from worker.xen import config, libxlutil, xl

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SLOWER = settings(QUICK, max_examples=40)


def domains(count: int) -> list[Domain]:
    uuid = "0a30c615-43f9-40a4-8d03-6e944136e4f{:x}"
    return [
        Domain(
            domid=index + 1,
            uuid=uuid.format(index),
            name=f"web{index}-0a30c615",
            type="pvh",
            memory_mib=256,
            maxmem_mib=256,
            vcpus=1,
            keys={"kernel": "/k", "ramdisk": "", "cmdline": "", "on_reboot": "restart", "nics": []},
        )
        for index in range(count)
    ]


LIST = printing.listing([printing.dom0(Look()), *domains(3)], is_verbose=True)
LONG = printing.long_listing([printing.dom0(Look()), *domains(3)])
INFO = printing.info(Look(), State())
MANGLED = st.sampled_from(["cut", "drop a line", "change", "insert"])


@st.composite
def mangled(draw: st.DrawFn, text: str) -> str:
    """A good output with one thing wrong with it."""
    at = draw(st.integers(0, len(text) - 1))
    how = draw(MANGLED)
    if how == "cut":
        return text[:at]
    if how == "drop a line":
        lines = text.splitlines(keepends=True)
        del lines[draw(st.integers(0, len(lines) - 1))]
        return "".join(lines)
    new = draw(st.text(max_size=12) | st.sampled_from(["(null)", "\n", " ", "-", "0", "\0", "\ud800"]))
    return text[:at] + new + text[at + (1 if how == "change" else 0) :]


class TestList:
    @given(text=st.one_of(st.text(), mangled(LIST)))
    @QUICK
    def test_is_read_whole_or_refused(self, text: str) -> None:
        try:
            found = xl.parse_list(text)
        except xl.Unreadable:
            return
        # a line may have gone as a whole, as when a domain ended: but never without Domain-0
        assert " 0 " in text
        assert len(found) == len(text.split("\n")) - 3
        assert all(domain.domid > 0 and len(domain.uuid) == 36 for domain in found)

    @given(text=st.text())
    @QUICK
    def test_garbage_is_never_an_empty_list(self, text: str) -> None:
        with pytest.raises(xl.Unreadable):
            xl.parse_list(text)

    @given(at=st.integers(0, len(LIST) - 1))
    @QUICK
    def test_a_cut_list_never_reads_as_a_shorter_one(self, at: int) -> None:
        try:
            found = xl.parse_list(LIST[:at])
        except xl.Unreadable:
            return
        # only at the end of a line: xl itself writes line by line, and its exit code tells the rest
        assert LIST[at - 1] == "\n"
        assert [domain.domid for domain in found] == [1, 2, 3][: len(found)]


class TestLongList:
    @given(text=st.one_of(st.text(), mangled(LONG)))
    @QUICK
    def test_is_read_or_refused(self, text: str) -> None:
        try:
            found = xl.parse_configs(text)
        except xl.Unreadable:
            return
        assert all(type(domid) is int and isinstance(facts, dict) for domid, facts in found.items())

    @given(
        value=st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["domid", "config", "x"]), inner, max_size=3)
            ),
        )
    )
    @QUICK
    def test_any_json_is_read_or_refused(self, value: object) -> None:
        try:
            xl.parse_configs(json.dumps(value))
        except xl.Unreadable:
            return
        assert isinstance(value, list)


class TestInfo:
    @given(text=st.one_of(st.text(), mangled(INFO)))
    @QUICK
    def test_is_read_or_refused(self, text: str) -> None:
        try:
            found = xl.parse_info(text)
        except xl.Unreadable:
            return
        assert all(found[key].isascii() and found[key].isdigit() for key in ("total_memory", "free_memory"))


class TestFailures:
    @given(verb=st.sampled_from(["create", "destroy", "list"]), rc=st.integers(-200, 300), said=st.text())
    @QUICK
    def test_whatever_xl_says_is_an_error_with_printable_words(self, verb: str, rc: int, said: str) -> None:
        error = xl.failure(verb, rc, said)
        assert isinstance(error, xl.XlError)
        assert len(error.lines) <= 8
        assert not any(ord(char) < 32 or ord(char) == 127 for line in error.lines for char in line)


class TestConfig:
    CFG = (
        'name = "web1"\ntype = "pvh"\nkernel = "/boot/vmlinuz"\nmemory = 256\nvcpus = 1\n'
        'disk = [ "format=raw,vdev=xvda,access=rw,target=/srv/web1.img" ]\n'
        "vif = [ 'mac=00:16:3e:00:00:01,bridge=xenbr0' ]\non_crash = 'destroy'\n"
    )

    @given(text=st.one_of(st.text(), mangled(CFG)))
    @QUICK
    def test_an_old_xl_cfg_is_read_or_refused(self, text: str) -> None:
        try:
            facts = config.facts_of(config.parse(text))
        except config.BadConfig:
            return
        assert isinstance(facts, config.Facts)

    @given(text=st.one_of(st.text(), mangled(CFG)))
    @SLOWER
    def test_xens_own_parser_reads_or_refuses_it_too(self, text: str) -> None:
        try:
            libxlutil.parse(text.encode("utf-8", "surrogatepass"), source="fuzz")
        except config.BadConfig:
            return


class TestJournal:
    GOOD = json.dumps({"job_id": "j", "machine_id": "m", "envelope": "{}", "state": "RUNNING"})

    @given(content=st.one_of(st.binary(), mangled(GOOD).map(lambda text: text.encode("utf-8", "replace"))))
    @QUICK
    def test_an_entry_is_read_or_set_aside_and_the_others_go_on(self, content: bytes, tmp_path: Path) -> None:
        journal = Journal(tmp_path)
        journal.write(Entry("good", "m"))
        (tmp_path / "j.json").write_bytes(content)
        found = journal.entries()
        assert "good" in [entry.job_id for entry in found]
        for entry in found:
            assert entry.is_ours == (entry.job_id == "good")
            assert isinstance(entry.marks, dict)
            assert entry.state in ("RUNNING", "CLEANING", "ENDED")
            assert type(entry.attempts) is int


NAMES = st.one_of(
    st.text(min_size=1, max_size=30),
    st.sampled_from(
        ["../x", "/etc/shadow", "a/../../b", ".", "./", "etc", "etc/passwd", "//x", "a\nb", "-x"]
    ),
)
TYPES = st.sampled_from(
    [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    out = io.BytesIO()
    with tarfile.open(
        fileobj=out, mode="w", format=draw(st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
    ) as tar:
        for name, kind, link in draw(st.lists(st.tuples(NAMES, TYPES, NAMES), max_size=4)):
            member = tarfile.TarInfo(name.replace("\0", "_").encode("utf-8", "replace").decode())
            member.type, member.linkname = kind, link.replace("\0", "_").encode("utf-8", "replace").decode()
            member.mode = draw(st.sampled_from([0o644, 0o4755, 0o777]))
            tar.addfile(member)
    raw = bytearray(out.getvalue())
    if draw(st.booleans()):
        raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    return bytes(raw)


class TestTarball:
    @given(raw=archives())
    @SLOWER
    def test_a_hostile_archive_is_looked_through_or_refused(self, raw: bytes, tmp_path: Path) -> None:
        path = tmp_path / "root.tar"
        path.write_bytes(raw)
        try:
            tarball.look(path)
        except WorkerError:
            return


class TestQueueItem:
    JSON = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["properties", "headers", "body", "delivery_info", "content-type", "x"]),
                inner,
            )
        ),
    )

    @given(item=JSON)
    @QUICK
    def test_has_a_fault_unless_it_is_what_kombu_writes(self, item: object) -> None:
        assert queues.find_fault(item)
