"""What the domain and the hosts say in English reads Russian on a Russian page."""

from types import SimpleNamespace

import pytest
from django.utils import translation

from webxen.web.said import find, said, said_whole
from webxen.web.templatetags.screens import action_word, why_failed


class TestASentenceOfTheDomain:
    @pytest.mark.parametrize(
        ("english", "russian"),
        [
            ("It is off.", "Она выключена."),
            (
                "1 machines, 2 vCPU, 3 GiB memory, 4 GiB disk, 5 vCPU running, 6 GiB memory running",
                ("машин: 1, процессоров: 2, память: 3 ГиБ, диск: 4 ГиБ,"
                " работающих процессоров: 5, память работающих: 6 ГиБ"),
            ),
            (
                ("xen2: Its disks are in pool fast of xen1 alone. It can move only switched off, and they are"
                " copied. It would be off for about 3 minutes."),
                ("xen2: Её диски лежат в хранилище fast, которое есть только у узла xen1. Переместить её"
                " можно только выключенной, диски скопируются. Она была бы выключена около 3 мин."),
            ),
            ("It is on this host already.", "Она и так на этом узле."),
            (
                "A job is open: migrate. Wait until it ends, then plan again.",
                "Идёт задание: перемещение. Дождитесь его конца и составьте план снова.",
            ),
            # one reason after the other, host by host
            (
                "xen2: It takes no machines now. It has no bridge br-1, br.2. xen3: It is off.",
                "xen2: Узел сейчас машин не принимает. Моста br-1, br.2 там нет. xen3: Она выключена.",
            ),
            (
                "xen2 cannot take web.1: 64 MiB memory free, 256 MiB needed.",
                "Узел xen2 не может принять машину web.1: Памяти свободно 64 МиБ, нужно 256 МиБ.",
            ),
            # a part that is a list of sentences itself
            (
                "No host has room: xen1: has no pool named fast; xen2: 1 vCPUs free, 2 needed.",
                ("Места нет ни на одном узле: xen1: нет хранилища fast;"
                " xen2: процессоров свободно 1, нужно 2."),
            ),
            (
                "4.75 GiB memory over quota: 768 MiB of 4 GiB reserved; 1 vCPU over quota: 2 of 2 reserved.",
                ("Памяти сверх квоты: 4,75 ГиБ (занято 768 МиБ из 4 ГиБ);"
                " процессоров сверх квоты: 1 (занято 2 из 2)."),
            ),
            ("xen1 and xen2 has not been heard of lately; the move begins when it is back.",
             "Давно нет вестей: xen1 и xen2. Перемещение начнётся, когда связь вернётся."),
            ("xen2: 24 MiB memory free, 256 MiB needed.", "xen2: свободно 24 МиБ памяти, нужно 256 МиБ."),
            ("Type exactly: xen1 is off", "Введите в точности: узел xen1 выключен"),
            ("xen1 is sending another machine: one at a time.",
             "Узел xen1 отправляет другую машину: по одной за раз."),
        ],
    )  # fmt: skip
    def test_is_told_in_the_readers_language(self, english: str, russian: str) -> None:
        with translation.override("ru"):
            assert find(english) == (russian, True)
        with translation.override("en"):
            assert said(english) == english

    @pytest.mark.parametrize(
        "foreign", ["Nobody knows this.", "100% of %(it)s", "a: b", "Why: a. b; c.", "", "."]
    )
    def test_that_is_not_known_stays_as_it_was_said(self, foreign: str) -> None:
        with translation.override("ru"):
            assert said(foreign) == foreign

    def test_is_translated_as_far_as_it_is_known(self) -> None:
        with translation.override("ru"):
            assert find("web1 stayed on xen1. xl said: no") == (
                "Машина web1 осталась на узле xen1. xl said: no",
                False,
            )

    def test_that_stands_alone_begins_and_ends_like_one(self) -> None:
        with translation.override("ru"):
            told = said_whole("1 vCPU over quota: 2 of 2 reserved")
        assert told == "Процессоров сверх квоты: 1 (занято 2 из 2)."
        assert said_whole("web1 is busy.") == "web1 is busy."


class TestAFailedJob:
    def test_says_what_its_code_means_and_the_hosts_own_words_below(self) -> None:
        job = SimpleNamespace(error_code="NO_MEMORY", error_message="xl says: <out> of memory")
        with translation.override("ru"):
            told = str(why_failed(job))
        assert told.startswith("На узле не хватает свободной памяти.")
        assert 'lang="en">xl says: &lt;out&gt; of memory<' in told
        with translation.override("en"):
            assert why_failed(job) == "xl says: <out> of memory"

    def test_of_a_newer_host_is_told_in_its_own_words(self) -> None:
        with translation.override("ru"):
            assert why_failed(SimpleNamespace(error_code="NEW", error_message="New.")) == "New."
            assert why_failed(SimpleNamespace(error_code="NEW", error_message="")) == "NEW"


def test_a_code_in_a_sentence_is_said_as_a_word_in_english_too() -> None:
    assert said("xen1 to xen2, LIVE") == "xen1 to xen2, while it runs"
    assert said("xen1 to xen2, COLD") == "xen1 to xen2, switched off"


def test_a_line_of_the_audit_reads_as_words() -> None:
    with translation.override("ru"):
        assert action_word("ACCEPT_HOST") == "Узел принят"
        assert action_word("CREATE_MACHINE") == "Создание"
        assert action_word("CREATE_FAILED") == "Создание — Ошибка"
        assert action_word("CANCEL_MIGRATE") == "Запрошена отмена: Перемещение"
        assert action_word("MEND_POWER_WRONG") == "Исправлено: POWER_WRONG"
        assert action_word("SOMETHING_NEW") == "SOMETHING_NEW"
