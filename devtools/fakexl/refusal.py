"""How a stand-in command says no: words on standard error and an exit code.

Lives here: the exception every verb raises. The words belong to the verb.
"""


class Refusal(Exception):
    """The command ends with this exit code after printing these words on standard error."""

    def __init__(self, words: str, rc: int = 1) -> None:
        self.words = words
        self.rc = rc
        super().__init__(words)
