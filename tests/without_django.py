"""pytest plugin that hides Django and the portal from this interpreter.

kombu and Celery behave differently if Django is installed; a dom0 has none. `-p tests.without_django` must
come before `-p no:django`, so that nothing has imported it yet.
"""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType

ABSENT = ("django", "rest_framework", "channels", "allauth", "webxen")


class Wall(importlib.abc.MetaPathFinder):
    """Raises for hidden packages what Python raises for packages that are not installed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        top = fullname.partition(".")[0]
        if top in ABSENT:
            raise ModuleNotFoundError(f"No module named {fullname!r} (a dom0 has none)", name=fullname)
        return None


def build_wall() -> None:
    already = sorted({name.partition(".")[0] for name in sys.modules} & set(ABSENT))
    if already:
        raise RuntimeError(f"imported before the wall stood: {', '.join(already)}")
    sys.meta_path.insert(0, Wall())


build_wall()
