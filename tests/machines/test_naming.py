"""Names of machines: each rule refuses with its own sentence."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webxen.core.errors import InvalidError
from webxen.machines.naming import check_name, domain_name, what_is_wrong
from worker.xen import config

CHARACTERS = "Use only a-z, 0-9 and hyphens"
REFUSED = [
    ('x";bootloader="/bin/sh', CHARACTERS),
    ("Domain-0", CHARACTERS),
    ("domain-0", "reserved by Xen"),
    ("xen", "reserved by Xen"),
    ("dom0", "reserved by Xen"),
    ("localhost", "reserved by Xen"),
    ("-h", CHARACTERS),
    ("h-", CHARACTERS),
    ("007", "must not be a number"),
    ("a--incoming", "two hyphens in a row"),
    ("a--migratedaway", "two hyphens in a row"),
    ("a\0b", CHARACTERS),
    ("a\nb", CHARACTERS),
    ("web1\n", CHARACTERS),
    ("a b", CHARACTERS),
    ("Web", CHARACTERS),
    ("wéb", CHARACTERS),
    ("١٢", CHARACTERS),
    ("../etc", CHARACTERS),
    ("", "1 to 63 characters"),
    ("a" * 64, "1 to 63 characters"),
    (None, "must be text"),
    (7, "must be text"),
    (True, "must be text"),
    (["web1"], "must be text"),
]


class TestCheckName:
    @pytest.mark.parametrize(("untrusted", "rule"), REFUSED)
    def test_names_the_rule(self, untrusted, rule):
        with pytest.raises(InvalidError, match=rule) as caught:
            check_name(untrusted)
        assert list(caught.value.fields) == ["name"]

    @pytest.mark.parametrize("name", ["a", "1a", "web-1", "a" * 63, "7-up", "xen1"])
    def test_takes_a_good_one(self, name):
        assert check_name(name) == name

    @given(st.text(max_size=70))
    def test_never_raises_anything_else(self, text):
        assert isinstance(what_is_wrong(text), str)


class TestDomainName:
    ID = UUID("0f6e7a52-0000-4000-8000-000000000000")

    def test_is_the_name_and_a_piece_of_the_id(self):
        assert domain_name(name="web1", id=self.ID) == "web1-0f6e7a52"

    def test_does_not_start_with_a_digit(self):
        assert domain_name(name="7-up", id=self.ID) == "m-7-up-0f6e7a52"

    def test_long_names_are_cut_without_two_hyphens(self):
        cut = domain_name(name="a" * 39 + "-" + "b" * 23, id=self.ID)
        assert cut == "a" * 39 + "-0f6e7a52"
        assert "--" not in cut

    @given(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True), st.uuids())
    def test_is_one_the_dom0_takes(self, name, id):
        if not what_is_wrong(name):
            assert config.NAME.fullmatch(domain_name(name=name, id=id))
