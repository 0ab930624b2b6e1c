"""A message: what it says in English and Russian, how it is kept, and what of a host's is believed."""

import copy
import json
import pickle

import pytest
from django.utils import translation

from webxen.core.messages import Message, MessageField, name_of_each, tell_all, translate


def in_russian(message: object) -> str:
    with translation.override("ru"):
        return translate(message)


class TestMessage:
    def test_is_its_english_sentence(self) -> None:
        message = Message("NAME_RESERVED", name="xen")
        assert message == "The name xen is reserved by Xen."
        assert (message.code, message.params) == ("NAME_RESERVED", {"name": "xen"})

    def test_is_said_in_the_readers_language(self) -> None:
        assert in_russian(Message("NAME_RESERVED", name="xen")) == "Имя xen зарезервировано в Xen."

    def test_says_sizes_with_their_unit(self) -> None:
        message = Message("TOO_LITTLE_MEMORY", free_mib=512, needed_mib=8448)
        assert message == "512 MiB of memory free, 8.25 GiB needed"
        assert in_russian(message) == "свободно памяти 512 МиБ, нужно 8,25 ГиБ"

    def test_never_says_two_sizes_alike_that_differ(self) -> None:
        assert Message("TOO_LITTLE_MEMORY", free_mib=81919, needed_mib=81920).startswith("79.999 GiB")
        assert Message("TOO_LITTLE_MEMORY", free_mib=10**6 * 1024 - 1, needed_mib=10**6 * 1024).startswith(
            "999999.999 GiB"
        )

    @pytest.mark.parametrize(
        ("number", "english", "russian"),
        [
            (1, "1 machine is on this host.", "На этом узле 1 машина."),
            (3, "3 machines are on this host.", "На этом узле 3 машины."),
            (11, "11 machines are on this host.", "На этом узле 11 машин."),
        ],
    )
    def test_counts(self, number: int, english: str, russian: str) -> None:
        message = Message("HOST_IN_USE", n=number)
        assert message.startswith(english)
        assert in_russian(message).startswith(russian)

    def test_says_stored_codes_as_words(self) -> None:
        message = Message("MACHINE_JOB_OPEN", name="web1", job="SHUTDOWN")
        assert "web1: shutdown." in message
        assert "web1 выполняется задание: завершение работы." in in_russian(message)

    def test_says_messages_within_a_message(self) -> None:
        whys = {"xen1": Message("HOST_NO_CONTACT"), "xen2": Message("HOST_LACKS_POOL", pool="fast")}
        message = Message("NO_HOST_HAS_ROOM", whys=name_of_each(whys))
        assert message.endswith("capacity: xen1: is not responding; xen2: has no storage pool fast.")
        assert in_russian(message).endswith("xen1: не отвечает; xen2: нет хранилища fast.")

    def test_puts_sentences_behind_one_another(self) -> None:
        both = tell_all([Message("TAKES_NO_MACHINES"), "", Message("TARGET_NO_CONTACT")])
        assert both == "It does not accept machines now. It is not responding."
        assert in_russian(both) == "Сейчас он не принимает машины. Он не отвечает."
        assert tell_all(["", Message("TARGET_NO_CONTACT")]) == "It is not responding."
        assert tell_all([]) == ""

    def test_quotes_a_host_within_a_message(self) -> None:
        own = Message.of_host(kind="DISK_FULL", reason="", params={}, text="No room left.")
        both = Message.load(tell_all([Message("MACHINE_STAYED", name="web1", host="xen1"), own]).dump())
        assert both == "web1 stayed on xen1. No room left."
        assert in_russian(both).endswith("другой узел. No room left.")

    def test_lacks_a_parameter_and_shows_what_it_has(self) -> None:
        assert Message("HOST_CANNOT_TAKE", host="xen1") == "HOST_CANNOT_TAKE (host=xen1)"

    def test_puts_in_what_looks_like_a_placeholder_as_it_is(self) -> None:
        assert (
            Message("NAME_RESERVED", name="%(name)s %s <b>") == "The name %(name)s %s <b> is reserved by Xen."
        )

    def test_survives_copying(self) -> None:
        message = Message("HOST_IN_USE", n=2)
        for other in (copy.deepcopy(message), pickle.loads(pickle.dumps(message))):
            assert (other, other.code, other.params) == (message, message.code, message.params)


class TestKeptMessages:
    def test_are_code_and_parameters(self) -> None:
        kept = Message("OF_ONE", name="xen1", why=Message("HOST_NO_CONTACT")).dump()
        assert json.loads(kept) == {
            "code": "OF_ONE",
            "params": {"name": "xen1", "why": {"code": "HOST_NO_CONTACT", "params": {}}},
        }
        assert Message.load(kept) == "xen1: is not responding"
        assert in_russian(Message.load(kept)) == "xen1: не отвечает"

    @pytest.mark.parametrize(
        "old", ["It has no bridge br1.", "", "{not json", '{"a": 1}', '{"code": 5}', "[]"]
    )
    def test_of_earlier_versions_stay_as_they_are(self, old: str) -> None:
        kept = Message.load(old)
        assert (kept, kept.code, kept.dump(), in_russian(kept)) == (old, "", old, old)

    @pytest.mark.parametrize(
        ("kept", "shown"),
        [
            ('{"code": "NO_MORE", "params": {"host": "xen1", "n": 2}}', "NO_MORE (host=xen1, n=2)"),
            ('{"code": "NO_MORE", "params": {}}', "NO_MORE"),
            ('{"code": "NO_MORE", "params": [1]}', "NO_MORE"),
            ('{"code": "HOST_IN_USE", "params": {"n": {"code": []}}}', "[] machines are on this host."),
            ('{"code": "NAME_RESERVED", "params": {"name": null}}', "The name None is reserved by Xen."),
            ('{"code": "OF_ONE", "params": {"name": "a", "why": {"code": "GONE", "params": 3}}}', "a: GONE"),
        ],
    )
    def test_that_no_catalogue_knows_are_shown_with_their_parameters(self, kept: str, shown: str) -> None:
        assert Message.load(kept).startswith(shown)
        assert in_russian(Message.load(kept))

    def test_are_read_by_their_column(self) -> None:
        field = MessageField()
        message = Message("HOST_IN_USE", n=1)
        read = field.from_db_value(field.get_prep_value(message), None, None)
        assert isinstance(read, Message)
        assert (read.code, read.params) == ("HOST_IN_USE", {"n": 1})
        assert field.get_prep_value("as it is") == "as it is"
        assert field.from_db_value(None, None, None) is None


class TestMessagesOfAHost:
    def test_are_said_from_code_and_parameters(self) -> None:
        message = Message.of_host(
            kind="XL_FAILED", reason="POOL_NOT_HERE", params={"pool": "fast"}, text="anything"
        )
        assert message == "The host has no storage pool fast. Choose another host or pool."
        assert in_russian(message).startswith("На узле нет хранилища fast.")

    @pytest.mark.parametrize(
        "params",
        [
            None,
            [],
            {},
            {"pool": "fast", "more": "x"},
            {"pool": {"code": "X"}},
            {"pool": None},
            {"pool": True},
            {"pool": float("nan")},
            {"pool": 10**30},
            {"pool": ["a"] * 33},
            {"__class__": "x"},
            {str(n): "x" for n in range(17)},
        ],
    )
    def test_show_the_code_alone_where_parameters_have_another_shape(self, params: object) -> None:
        message = Message.of_host(kind="XL_FAILED", reason="POOL_NOT_HERE", params=params, text="<script>")
        assert (message, message.params) == ("POOL_NOT_HERE", {})

    def test_bound_what_is_put_in(self) -> None:
        message = Message.of_host(
            kind="XL_FAILED", reason="POOL_NOT_HERE", params={"pool": "a\n\x00\u202eb" + "c" * 5000}, text=""
        )
        assert message.params["pool"].startswith("a b")
        assert len(message.params["pool"]) == 500

    def test_of_an_unknown_code_keep_the_hosts_english(self) -> None:
        message = Message.of_host(kind="XL_FAILED", reason="NEWER", params={"x": 1}, text="Something newer.")
        assert Message.load(message.dump()) == message == "Something newer."
        assert (message.code, message.params) == ("NEWER", {"x": 1})

    def test_keep_a_programs_last_words(self) -> None:
        message = Message.of_host(
            kind="XL_FAILED", reason="XEN_STOP_FAILED", params={}, text="", details="xl: no\x00 such domain"
        )
        kept = Message.load(message.dump())
        assert kept == "Xen could not stop the machine. Contact an administrator.\nxl: no such domain"
        assert in_russian(kept).endswith("администратору.\nxl: no such domain")

    @pytest.mark.parametrize("reason", ["", "lower", "A" * 61, "<b>", "A B"])
    def test_of_an_older_worker_are_quoted(self, reason: str) -> None:
        message = Message.of_host(kind="DISK_FULL", reason=reason, params={}, text="The disk is full.")
        assert (Message.load(message.dump()), message.code) == ("The disk is full.", "DISK_FULL")
        assert in_russian(message).endswith("другой узел.\nThe disk is full.")
        plain = Message.of_host(kind="", reason=reason, params={}, text="The disk is full.")
        assert (plain, plain.code) == ("The disk is full.", "")
