"""What WebXen says to people: a code and its parameters, kept and sent so, a sentence only where it is shown.

`Message` is what rooms make, raise and keep; `texts` holds the English text of every code; `translate` says a
message in the reader's language. No rule and no query lives here.
"""

from webxen.core.messages.field import MessageField
from webxen.core.messages.message import Message, as_message, each_of, name_of_each, tell_all, tell_of
from webxen.core.messages.translation import as_sentence, translate

__all__ = [
    "Message",
    "MessageField",
    "as_message",
    "as_sentence",
    "each_of",
    "name_of_each",
    "tell_all",
    "tell_of",
    "translate",
]
