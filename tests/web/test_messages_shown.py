"""What a page shows of a message that a row holds: of a failed job, and of a line of the audit."""

from types import SimpleNamespace

from django.utils import translation

from webxen.core.messages import Message, as_sentence
from webxen.web.templatetags.screens import action_word, verdict_text, why_failed


def failed(message: Message, *, code: str = "XL_FAILED") -> SimpleNamespace:
    return SimpleNamespace(error_code=code, error_message=message)


class TestAFailedJob:
    def test_says_why_in_the_readers_language(self) -> None:
        message = Message("POOL_NOT_HERE", pool="fast")
        with translation.override("ru"):
            assert why_failed(failed(message)).startswith("На узле нет хранилища fast.")

    def test_shows_a_programs_last_words_below(self) -> None:
        message = Message.of_host(
            kind="XL_FAILED", reason="XEN_STOP_FAILED", params={}, text="", details="xl: <out> of memory"
        )
        with translation.override("ru"):
            told = str(why_failed(failed(message)))
        assert told.startswith("Xen не смог остановить машину.")
        assert 'lang="en">xl: &lt;out&gt; of memory<' in told

    def test_of_a_newer_host_says_what_its_kind_means_and_the_hosts_words_below(self) -> None:
        message = Message.of_host(kind="NO_MEMORY", reason="NEWER", params={"n": 1}, text="No <memory>.")
        with translation.override("ru"):
            told = str(why_failed(failed(message, code="NO_MEMORY")))
        assert told.startswith("На узле не хватает свободной памяти.")
        assert 'lang="en">No &lt;memory&gt;.<' in told

    def test_of_an_earlier_version_stays_as_it_was_kept(self) -> None:
        with translation.override("ru"):
            assert why_failed(failed(Message.load("It was so."), code="NEW")) == "It was so."
            assert why_failed(failed(Message.load(""), code="NEW")) == "NEW"


class TestAVerdict:
    def test_that_was_kept_is_said_in_the_readers_language(self) -> None:
        kept = {"host": "xen1", "code": "MEMORY", "numbers": {"free": 512, "needed": 2048}}
        with translation.override("ru"):
            assert verdict_text(kept) == "свободно памяти 512 МиБ, нужно 2 ГиБ"

    def test_of_another_version_shows_its_code_and_numbers(self) -> None:
        with translation.override("ru"):
            assert verdict_text({"host": "xen1", "code": "MOON", "numbers": {"phase": 3}}) == "MOON (phase=3)"


def test_a_fragment_that_stands_alone_begins_and_ends_like_a_sentence() -> None:
    message = Message("OVER_VCPUS", n=1, used=2, limit=2)
    assert as_sentence(message) == "1 vCPU over quota: 2 of 2 used."
    with translation.override("ru"):
        assert as_sentence(message).endswith("сверх квоты: 1 (занято 2 из 2).")
    assert as_sentence("web1 is busy.") == "web1 is busy."


def test_a_line_of_the_audit_reads_as_words() -> None:
    with translation.override("ru"):
        assert action_word("ACCEPT_HOST") == "Узел подтверждён"
        assert action_word("CREATE_MACHINE") == "Создание"
        assert action_word("CREATE_FAILED") == "Создание — Ошибка"
        assert action_word("CANCEL_MIGRATE") == "Запрошена отмена: Перемещение"
        assert action_word("MEND_POWER_WRONG") == "Исправлено: POWER_WRONG"
        assert action_word("SOMETHING_NEW") == "SOMETHING_NEW"
