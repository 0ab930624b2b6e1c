import sys

import pytest

from webxen.api.parsers import MAX_DEPTH, MAX_KEYS, MalformedError, read_json


def object_of(keys: int, *, more: str = "") -> bytes:
    pairs = [f'"{n}": 0' for n in range(keys)] + ([more] if more else [])
    return f"{{{', '.join(pairs)}}}".encode()


class TestReadJson:
    def test_takes_what_two_programs_read_alike(self):
        raw = '{"a": [1, -2.5, true, null, "é \\ud83d\\ude00"], "b": {}}'.encode()
        assert read_json(raw) == {"a": [1, -2.5, True, None, "é 😀"], "b": {}}

    @pytest.mark.parametrize(
        ("raw", "why"),
        [
            (b'{"name": "a", "name": "b"}', "twice"),
            (b'{"x": {"k": 1, "k": 1}}', "twice"),
            (b'{"memory_mib": NaN}', "NaN"),
            (b'{"memory_mib": Infinity}', "Infinity"),
            (b'{"memory_mib": -Infinity}', "-Infinity"),
            (b'{"memory_mib": 1e999}', "too large"),
            (b'{"memory_mib": ' + b"9" * 5000 + b"}", "too long"),
            (b'{"name": "\\ud800"}', "surrogate"),
            (b'{"\\udfff": 1}', "surrogate"),
            (b'["\\ude00\\ud83d"]', "surrogate"),
            (b"\xff\xfe{}", "UTF-8"),
            (b'{"name": "\xed\xa0\x80"}', "UTF-8"),
            ("\ufeff{}".encode(), "not JSON"),
            (b"{", "not JSON"),
            (b'{"' + b"k" * 9000 + b'": 1, "' + b"k" * 9000 + b'": 1}', r"'k{80}' appears twice"),
            (object_of(25_000), "more than 200 keys"),
            (object_of(25_000, more='"24999": 0'), "more than 200 keys"),
            (object_of(200, more='"199": 0'), "twice"),
            (b'{"a": {"b": ' + object_of(201) + b"}}", "more than 200 keys"),
            (b"[" + b"0," * 60_000 + b"0]", "more than 20000 values"),
            (b"[" + b"{}," * 60_000 + b"{}]", "more than 20000 values"),
            (b"not json", "line 1, column 1"),
            (b"{} {}", "not JSON"),
            (b'{"a": "\x00"}', "not JSON"),
            (b"", "not JSON"),
            (b"[" * 100_000, "nested deeper"),
            (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "nested deeper"),
            (b'{"a":' * 50 + b"1" + b"}" * 50, "nested deeper"),
        ],
    )
    def test_refuses_what_they_might_not(self, raw, why):
        with pytest.raises(MalformedError, match=why):
            read_json(raw)

    def test_takes_the_largest_object_that_is_allowed(self):
        assert len(read_json(object_of(MAX_KEYS))) == MAX_KEYS

    def test_compares_a_key_with_few_others_however_many_there_are(self):
        """The steps are counted, not the time: they stay in proportion to the length."""

        def steps(keys: int) -> int:
            taken, raw = 0, object_of(keys, more=f'"{keys - 1}": 0')

            def count(_frame, event, _arg):
                nonlocal taken
                taken += event in ("call", "line", "c_call")
                return count

            sys.setprofile(count)
            try:
                with pytest.raises(MalformedError):
                    read_json(raw)
            finally:
                sys.setprofile(None)
            return taken

        assert steps(20_000) < 20 * steps(2_000)

    def test_takes_the_deepest_that_is_allowed(self):
        assert read_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
