import pytest

from webxen.api.parsers import MAX_DEPTH, MalformedError, read_json


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

    def test_takes_the_deepest_that_is_allowed(self):
        assert read_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
