"""Each house rule: the tree keeps it, a bad sample breaks it, a good sample does not."""

import pytest

from tests.conventions import rules
from tests.conventions.tree import Source, read_python

#: rule -> samples that it must refuse, as (path, text)
BAD: dict[str, list[tuple[str, str]]] = {
    "keeps_doors_off_rows": [
        ("webxen/api/machines.py", "x = Machine.objects.get(pk=1)"),
        ("webxen/web/machines.py", "def view(request):\n    return Machine._default_manager.all()"),
        ("webxen/inbox/tasks.py", "Job.objects.filter()"),
        ("webxen/console/consumers.py", "Seat.objects.create()"),
    ],
    "keeps_signals_out": [
        ("webxen/jobs/apps.py", "from django.db.models.signals import post_save"),
        ("webxen/jobs/apps.py", "from django.dispatch import receiver"),
        ("webxen/jobs/apps.py", "import django.dispatch"),
    ],
    "keeps_model_magic_out": [
        ("webxen/web/forms.py", "from django.forms import ModelForm"),
        ("webxen/web/forms.py", "from django import forms\nclass F(forms.ModelForm): pass"),
        (
            "webxen/api/x.py",
            "from rest_framework import serializers\nclass S(serializers.ModelSerializer): pass",
        ),
        ("webxen/core/models.py", "from django.contrib.contenttypes.fields import GenericForeignKey"),
    ],
    "keeps_save_plain": [
        (
            "webxen/machines/models.py",
            "class M:\n    def save(self, *args, **kwargs):\n        super().save()",
        ),
    ],
    "wants_plain_operations": [
        ("webxen/jobs/operations.py", "def start(machine, *, now): ..."),
        ("webxen/jobs/operations.py", "def start(*, machine): ..."),
        ("webxen/jobs/operations.py", "async def start(machine, /, *, now): ..."),
    ],
    "leaves_clock_to_doors": [
        ("webxen/jobs/operations.py", "from django.utils import timezone\nx = timezone.now()"),
        ("webxen/jobs/operations.py", "import datetime\nx = datetime.datetime.now()"),
        ("webxen/jobs/models.py", "from django.utils import timezone\nx = Field(default=timezone.now)"),
        ("webxen/quotas/operations.py", "from webxen.core import clock\nx = clock.now()"),
        ("webxen/jobs/dispatch.py", "import time\nx = time.time()"),
    ],
    "keeps_state_in_one_place": [
        ("webxen/jobs/operations.py", "Machine.objects.filter(pk=1).update(state='READY')"),
        ("webxen/web/machines.py", "machine.state = 'READY'"),
        ("webxen/jobs/dispatch.py", "Job.objects.update(status='QUEUED')"),
        ("webxen/jobs/operations.py", "Job.objects.filter(pk=1).update(status='FAILED')"),
        ("webxen/migration/operations.py", "Move.objects.filter(pk=1).update(phase='ENDED')"),
        ("webxen/migration/finalize.py", "fields = {'status': 'FAILED'}"),
        ("webxen/migration/finalize.py", "fields['phase'] = 'ENDED'"),
        ("webxen/jobs/dispatch.py", "setattr(job, 'status', 'FAILED')"),
        ("webxen/jobs/dispatch.py", "Job.objects.bulk_update(jobs, ['step', 'status'])"),
    ],
    "wants_narrow_except": [
        ("worker/xen/xl.py", "try:\n    f()\nexcept:\n    pass"),
        ("worker/xen/xl.py", "try:\n    f()\nexcept Exception:\n    pass"),
        ("webxen/inbox/tasks.py", "try:\n    f()\nexcept (ValueError, BaseException):\n    pass"),
    ],
    "wants_one_on_commit": [("webxen/jobs/x.py", "transaction.on_commit(f, robust=True)")],
    "keeps_programs_in_shell": [
        ("worker/xen/xl.py", "import subprocess"),
        ("worker/xen/xl.py", "from subprocess import run"),
        ("webxen/inbox/tasks.py", "import os\nos.system('ls')"),
        ("devtools/lab/qemu.py", "import os\nos.execvp('ls', ['ls'])"),
        ("worker/console/daemon.py", "import asyncio\nx = asyncio.create_subprocess_exec('ls')"),
        ("worker/shell.py", "import subprocess\nsubprocess.run('ls', shell=True)"),
    ],
    "wants_frozen_messages": [
        ("worker/contract/orders.py", "class Order: pass"),
        ("worker/contract/orders.py", "@dataclass\nclass Order: pass"),
        ("worker/contract/orders.py", "@dataclass(frozen=False)\nclass Order: pass"),
    ],
    "wants_docstring": [("worker/xen/xl.py", "x = 1"), ("webxen/jobs/models.py", "# only a comment\nx = 1")],
    "wants_telling_names": [
        ("webxen/jobs/models.py", "class JobManager: pass"),
        ("webxen/web/views.py", "class StaffMixin: pass"),
        ("worker/xen/xl.py", "class BaseXl: pass"),
        ("worker/utils.py", "x = 1"),
        ("webxen/core/helpers.py", "x = 1"),
    ],
    "keeps_own_modules_unpatched": [
        ("tests/jobs/test_a.py", "from unittest import mock"),
        ("tests/jobs/test_a.py", "from unittest.mock import patch"),
        (
            "tests/jobs/test_a.py",
            "def test(monkeypatch):\n    monkeypatch.setattr('webxen.jobs.dispatch.send', print)",
        ),
        (
            "tests/jobs/test_a.py",
            "from webxen.jobs import dispatch\ndef test(m):\n    m.setattr(dispatch, 'send', print)",
        ),
    ],
    "wants_reasons_to_skip": [
        ("tests/a/test_a.py", "import pytest\n@pytest.mark.skip\ndef test(): ..."),
        ("tests/a/test_a.py", "import pytest\n@pytest.mark.skipif(True)\ndef test(): ..."),
        ("tests/a/test_a.py", "import pytest\ndef test():\n    pytest.skip()"),
    ],
    "wants_named_migrations": [
        ("webxen/jobs/migrations/0002_auto_20260101_0000.py", ""),
        ("webxen/jobs/migrations/0001_initial.py", ""),
    ],
    "keeps_size_readable": [
        ("worker/xen/xl.py", "x = 1\n" * 401),
        ("worker/xen/xl.py", "def f():\n" + "    x = 1\n" * 40),
    ],
    "reads_environment_once": [
        ("webxen/jobs/dispatch.py", "import os\nx = os.environ['X']"),
        ("webxen/settings.py", "import os\nx = os.getenv('X')"),
    ],
    "wants_visible_to": [("webxen/machines/queries.py", "def all_machines(user): ...")],
    "wants_the_stranger": [
        ("tests/api/test_machines.py", "def test_owner(alice): ..."),
        ("tests/web/test_strangers.py", "def test_owner(alice): ..."),
    ],
}

#: rule -> samples that look alike and must pass
GOOD: dict[str, list[tuple[str, str]]] = {
    "keeps_doors_off_rows": [
        ("webxen/jobs/operations.py", "x = Job.objects.get(pk=1)"),
        ("webxen/console/operations.py", "Seat.objects.create()"),
    ],
    "keeps_save_plain": [("webxen/web/forms.py", "class F:\n    def save(self): ...")],
    "wants_plain_operations": [
        ("webxen/jobs/operations.py", "def start(*, machine, now): ...\ndef _inner(x): ..."),
        ("webxen/jobs/queries.py", "def visible_to(user): ..."),
    ],
    "leaves_clock_to_doors": [
        ("webxen/inbox/tasks.py", "from webxen.core import clock\nx = clock.now()"),
        ("worker/observe/observer.py", "import time\nx = time.time()"),
    ],
    "keeps_state_in_one_place": [
        ("webxen/machines/lifecycle.py", "Machine.objects.filter(state='A').update(state='B')"),
        ("webxen/web/machines.py", "x = Machine(state='A')\nself.state = 1"),
        ("webxen/migration/phases.py", "Move.objects.filter(phase='A').update(phase='B')"),
        ("webxen/web/jobs.py", "context = {'status': status}"),
    ],
    "wants_narrow_except": [
        ("worker/xen/xl.py", "try:\n    f()\nexcept (OSError, ValueError):\n    pass"),
        ("worker/xen/xl.py", "try:\n    f()\nexcept BaseException:\n    tidy()\n    raise"),
    ],
    "wants_one_on_commit": [("webxen/core/after_commit.py", "transaction.on_commit(f, robust=True)")],
    "keeps_programs_in_shell": [
        ("worker/shell.py", "import subprocess\nsubprocess.run(['ls'], shell=False)"),
        ("worker/xen/xl.py", "import os\nx = os.environ"),
    ],
    "wants_frozen_messages": [
        ("worker/contract/orders.py", "@dataclass(frozen=True)\nclass A: pass\nclass Bad(Exception): pass"),
    ],
    "wants_docstring": [("webxen/jobs/__init__.py", ""), ("worker/xen/xl.py", '"""What xl says."""\nx = 1')],
    "wants_telling_names": [
        ("worker/xen/xl.py", "class Database: pass\nclass Handlebar: pass\nx: BaseManager")
    ],
    "keeps_own_modules_unpatched": [
        ("tests/a/test_a.py", "def test(monkeypatch, settings):\n    monkeypatch.setenv('A', 'b')"),
        (
            "tests/a/test_a.py",
            "import os\ndef test(monkeypatch):\n    monkeypatch.setattr(os, 'fsync', print)",
        ),
    ],
    "wants_reasons_to_skip": [
        ("tests/a/test_a.py", "import pytest\n@pytest.mark.skipif(True, reason='no Xen')\ndef test(): ..."),
    ],
    "wants_named_migrations": [("webxen/jobs/migrations/0001_first_rows.py", "")],
    "keeps_size_readable": [("worker/xen/xl.py", "def f():\n" + "    x = 1\n" * 39)],
    "wants_visible_to": [("webxen/machines/queries.py", "def visible_to(user): ...")],
    "wants_the_stranger": [("tests/api/test_machines.py", "def test_stranger(charlie): ...")],
}

BY_NAME = {rule.__name__: rule for rule in rules.RULES}


def find(rule: rules.Rule, source: Source) -> list[str]:
    return [f"{source.path}:{line}: {sentence}" for line, sentence in rule(source)]


@pytest.mark.parametrize("name", BY_NAME)
class TestRule:
    def test_is_kept_by_the_tree(self, name: str) -> None:
        findings = [found for source in read_python() for found in find(BY_NAME[name], source)]
        assert not findings, "\n".join([BY_NAME[name].__doc__ or "", *findings])

    def test_bites(self, name: str) -> None:
        assert BAD[name]
        for path, text in BAD[name]:
            assert find(BY_NAME[name], Source(path, text)), f"{name} let this pass:\n{path}\n{text}"

    def test_lets_the_good_pass(self, name: str) -> None:
        for path, text in GOOD.get(name, []):
            assert not find(BY_NAME[name], Source(path, text)), f"{name} refused this:\n{path}\n{text}"


class TestExceptions:
    def test_each_has_a_reason_and_a_file(self) -> None:
        names = {source.path for source in read_python()}
        for listed in (rules.BROAD_CATCHERS, rules.NOT_ROWS, rules.LONG_FILES, rules.LONG_FUNCTIONS):
            assert {place.partition(":")[0] for place in listed} <= names, (
                "an exception for a file that is gone"
            )
            assert all(len(reason) > 20 for reason in listed.values())

    def test_samples_name_rules_that_exist(self) -> None:
        assert set(BAD) == set(BY_NAME)
        assert set(GOOD) <= set(BY_NAME)

    def test_the_tree_is_read_at_all(self) -> None:
        assert len(read_python()) > 20
