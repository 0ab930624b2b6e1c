"""The exception with which a stand-in command fails."""


class Refusal(Exception):
    """The command prints these words to standard error and ends with this exit code."""

    def __init__(self, words: str, rc: int = 1) -> None:
        self.words = words
        self.rc = rc
        super().__init__(words)
