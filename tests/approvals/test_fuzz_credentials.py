"""Keys that are almost keys: refused, or written anew as one plain line that OpenSSH and the worker take."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from webxen.approvals import credentials
from worker.job.order_checks import SSH_KEY

QUICK = settings(max_examples=150, deadline=None)
LONG = settings(max_examples=5000, deadline=None)


def blob_of(key: Any) -> bytes:
    text = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return base64.b64decode(text.split()[1])


BLOBS = {
    "ssh-ed25519": blob_of(ed25519.Ed25519PrivateKey.generate()),
    "ssh-rsa": blob_of(rsa.generate_private_key(65537, 2048)),
    "ecdsa-sha2-nistp256": blob_of(ec.generate_private_key(ec.SECP256R1())),
}
OPTIONS = ('command="/bin/sh" ', "restrict,pty ", 'from="*" ', "cert-authority ", "#", "@revoked ")
BREAKS = ("\n", "\r", "\0", "\t", "\x1b[2J", "\u2028", "\u202e", "\x85", "\u00a0", " ", "\ud800", '"', "\\n")


@st.composite
def blobs(draw: st.DrawFn, whole: bytes) -> bytes:
    """The key's bytes, as they are or with one thing wrong."""
    at = draw(st.integers(0, len(whole)))
    how = draw(st.sampled_from(["whole", "whole", "cut", "flip", "grow"]))
    if how == "cut":
        return whole[:at]
    if how == "flip" and at < len(whole):
        return whole[:at] + bytes([whole[at] ^ draw(st.integers(1, 255))]) + whole[at + 1 :]
    return whole[:at] + draw(st.binary(max_size=40)) + whole[at:] if how == "grow" else whole


@st.composite
def lines(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(sorted(BLOBS)))
    text = base64.b64encode(draw(blobs(BLOBS[kind]))).decode()
    said = draw(st.sampled_from([kind, kind, kind, *credentials.KEY_TYPES]))
    comment = draw(st.just("alice@laptop") | st.text(max_size=30) | st.sampled_from(BREAKS))
    line = draw(st.sampled_from(["", "", "", *OPTIONS])) + f"{said} {text} {comment}"
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(line)))
        line = line[:at] + draw(st.sampled_from(BREAKS) | st.text(max_size=3)) + line[at:]
    return line


def is_refused_or_one_plain_line(untrusted: str) -> bool:
    """Whether it was taken; what was taken is judged."""
    try:
        line = credentials.read_ssh_key(untrusted)
    except credentials.Unusable:
        return False
    kind, text, *comment = line.split(" ")
    assert kind in credentials.KEY_TYPES
    blob = base64.b64decode(text, validate=True)
    assert blob[4 : 4 + len(kind)] == kind.encode()
    assert len(comment) <= 1
    assert line.isascii()
    assert line.isprintable()
    # written anew, it says the same; and the host takes what the portal took
    assert credentials.read_ssh_key(line) == line
    assert SSH_KEY.fullmatch(line)
    return True


class TestAlmostKeys:
    @QUICK
    @given(lines())
    def test_become_one_plain_line_or_nothing(self, untrusted: str) -> None:
        is_refused_or_one_plain_line(untrusted)

    @pytest.mark.campaign
    @LONG
    @given(lines())
    def test_become_one_plain_line_or_nothing_for_long(self, untrusted: str) -> None:
        is_refused_or_one_plain_line(untrusted)

    def test_with_a_compressed_point_is_refused(self) -> None:
        point = ec.generate_private_key(ec.SECP256R1()).public_key()
        packed = point.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        parts = (b"ecdsa-sha2-nistp256", b"nistp256", packed)
        blob = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        assert not is_refused_or_one_plain_line(f"ecdsa-sha2-nistp256 {base64.b64encode(blob).decode()}")

    @pytest.mark.parametrize("kind", sorted(BLOBS))
    def test_the_whole_ones_are_taken(self, kind: str) -> None:
        text = base64.b64encode(BLOBS[kind]).decode()
        assert is_refused_or_one_plain_line(f"{kind} {text} alice@laptop")
        assert not is_refused_or_one_plain_line(f"{OPTIONS[0]}{kind} {text}")


class TestUserData:
    @QUICK
    @given(st.text(max_size=100) | st.binary(max_size=50) | st.none() | st.lists(st.text()) | st.integers())
    def test_is_kept_as_it_is_or_refused(self, untrusted: Any) -> None:
        try:
            kept = credentials.read_user_data(untrusted)
        except credentials.Unusable:
            return
        assert kept == (untrusted or "")
        assert "\0" not in kept
        assert len(kept.encode()) <= credentials.MAX_USER_DATA_BYTES
