"""Envelopes made by somebody who means harm: refused as BadEnvelope, and as nothing else."""

import json
import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worker.worker_host import HASH, KEY
from worker import contract
from worker.contract import BadEnvelope
from worker.contract.coding import read_part
from worker.identity import keys

NOW = 1_800_000_000
PRIVATE, PUBLIC = keys.generate()
FOREIGN, _ = keys.generate()
QUICK = settings(max_examples=150, deadline=None)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def order() -> contract.CreateMachine:
    return contract.CreateMachine(
        job_id=str(uuid.UUID(int=1)),
        fence=7,
        deadline_seconds=600,
        machine=contract.MachineSpec(
            id=str(uuid.UUID(int=2)),
            domain="web1-00000000",
            vcpus=1,
            memory_mib=256,
            disks=(contract.DiskSpec("root", "local", 1024, "xvda"),),
            nics=(contract.NicSpec("00:16:3e:00:00:01", "xenbr0", "10.0.2.101", 24, "10.0.2.2", "10.0.2.3"),),
            image=contract.ImageSpec("minimal.ext4", "0" * 64, "FILESYSTEM", kernel="vmlinuz"),
        ),
        seed=contract.SeedSpec("web1", (KEY,), HASH),
    )


GOOD = contract.seal(order(), host="xen1", sign=keys.signer(PRIVATE), not_after=NOW + 60, nonce="n" * 32)


def opened(untrusted: object, *, now: int = NOW) -> contract.Opened:
    return contract.open_envelope(untrusted, host="xen1", verify=keys.verifier(PUBLIC), now=now)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [path, *(leaf for key in value for leaf in leaves(value[key], (*path, key)))]
    if isinstance(value, list):
        return [path, *(leaf for index, item in enumerate(value) for leaf in leaves(item, (*path, index)))]
    return [path]


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


INNER = json.loads(json.loads(GOOD)["signed"])
PATHS = st.sampled_from(leaves(INNER))


class TestUnsigned:
    def test_the_good_one_is_good(self) -> None:
        assert opened(GOOD).message == order()

    @given(path=PATHS, new=JSON)
    @QUICK
    def test_any_changed_field_is_refused(self, path: tuple[Any, ...], new: Any) -> None:
        inner = json.dumps(changed(INNER, path, new), separators=(",", ":"))
        outer = json.loads(GOOD)
        if inner == outer["signed"]:
            return
        with pytest.raises(BadEnvelope):
            opened(json.dumps({**outer, "signed": inner}))

    @given(at=st.integers(0, len(GOOD) - 1), char=st.characters())
    @QUICK
    def test_any_changed_character_is_refused_or_changes_nothing(self, at: int, char: str) -> None:
        mangled = GOOD[:at] + char + GOOD[at + 1 :]
        try:
            found = opened(mangled)
        except BadEnvelope:
            return
        # white space or an escape in the outer JSON: what was signed is what it was
        assert json.loads(mangled)["signed"] == json.loads(GOOD)["signed"]
        assert found.message == order()

    @given(untrusted=st.one_of(JSON, st.text(), st.binary(), JSON.map(json.dumps)))
    @QUICK
    def test_anything_at_all_is_refused(self, untrusted: object) -> None:
        with pytest.raises(BadEnvelope):
            opened(untrusted)

    @given(seconds=st.integers(1, 2**70))
    @QUICK
    def test_an_old_one_is_refused(self, seconds: int) -> None:
        with pytest.raises(BadEnvelope):
            opened(GOOD, now=NOW + 60 + seconds)

    def test_one_of_another_key_or_for_another_host_is_refused(self) -> None:
        for private, host in ((FOREIGN, "xen1"), (PRIVATE, "xen2"), (PRIVATE, "xen1 "), (PRIVATE, "")):
            sealed = contract.seal(order(), host=host, sign=keys.signer(private), not_after=NOW + 60)
            with pytest.raises(BadEnvelope):
                opened(sealed)


class TestSignedByAPortalGoneMad:
    """The signature is good and the content is not: read into the types of the contract, or refused."""

    @given(path=PATHS, new=JSON)
    @QUICK
    def test_a_field_of_a_wrong_shape_is_refused(self, path: tuple[Any, ...], new: Any) -> None:
        inner = json.dumps(changed(INNER, path, new), separators=(",", ":"))
        signature = json.loads(GOOD)["signature"]
        outer = json.dumps({"signed": inner, "signature": signature})
        try:
            found = contract.open_envelope(outer, host="xen1", verify=lambda *_: True, now=NOW)
        except BadEnvelope:
            return
        assert isinstance(found.message, contract.Order | contract.Report | contract.Observation)
        assert contract.decode(contract.encode(found.message)) == found.message

    def test_a_number_larger_than_any_float_is_refused(self) -> None:
        facts = {"job_id": str(uuid.UUID(int=1)), "side": "SOURCE", "rate_mib_s": 10**400}
        with pytest.raises(BadEnvelope, match="rate_mib_s is too large"):
            read_part(contract.MoveFacts, facts, "facts")

    @given(untrusted=JSON, kind=st.sampled_from(sorted(contract.KINDS)))
    @QUICK
    def test_any_message_is_read_or_refused(self, untrusted: Any, kind: str) -> None:
        fields = untrusted if isinstance(untrusted, dict) else {}
        try:
            message = contract.decode({**fields, "kind": kind})
        except BadEnvelope:
            return
        assert type(message).kind == kind
