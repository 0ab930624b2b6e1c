"""The rules that a parser can check: one small pure function per rule, `Source` in, findings out.

A finding is `(line, sentence)`. Numbers in the docstrings are those of the conventions in CONTRIBUTING.md.
Exceptions are listed at their rule with a reason; test_rules.py shows that each rule finds violations.
"""

import ast
import re
from collections.abc import Callable, Iterator

from tests.conventions.tree import Source, dotted

Finding = tuple[int, str]
Rule = Callable[[Source], Iterator[Finding]]
Function = ast.FunctionDef | ast.AsyncFunctionDef

#: The entry points; console/ and jobs/ have one each.
DOORS = (
    "webxen/web/",
    "webxen/api/",
    "webxen/accounts/adapter.py",
    "webxen/console/consumers.py",
    "webxen/inbox/tasks.py",
    "webxen/tidy.py",
)
MAX_FUNCTION_LINES = 40
MAX_FILE_LINES = 400


def _is_product(source: Source) -> bool:
    return source.is_in("webxen/", "worker/", "devtools/") and "/migrations/" not in source.path


def keeps_doors_off_rows(source: Source) -> Iterator[Finding]:
    """1: a door never touches `.objects`; its own rows are read and written in its models.py."""
    if not source.is_in(*DOORS) or source.path.endswith("/models.py"):
        return
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and node.attr in {"objects", "_default_manager", "_base_manager"}:
            yield node.lineno, f"a door reaches for .{node.attr}: ask the room's queries or operations"


def keeps_signals_out(source: Source) -> Iterator[Finding]:
    """3: no Django signals."""
    if not source.is_in("webxen/"):
        return
    for line, name, _ in source.imports:
        if name.startswith(("django.db.models.signals", "django.dispatch", "django.core.signals")):
            yield line, f"{name}: call what should happen, so that it can be read"


def keeps_model_magic_out(source: Source) -> Iterator[Finding]:
    """3: no ModelForm, ModelSerializer or GenericForeignKey: forms are about shape, rows about truth."""
    if not source.is_in("webxen/"):
        return
    banned = {"ModelForm", "ModelSerializer", "GenericForeignKey", "GenericRelation"}
    for line, name, _ in source.imports:
        if name.rpartition(".")[2] in banned:
            yield line, f"{name} ties the screen to the row"
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and node.attr in banned:
            yield node.lineno, f"{node.attr} ties the screen to the row"


def keeps_save_plain(source: Source) -> Iterator[Finding]:
    """3: no logic in save() or delete() of a model."""
    if not source.is_in("webxen/") or not source.path.endswith("models.py"):
        return
    for node in source.nodes:
        if isinstance(node, ast.FunctionDef) and node.name in {"save", "delete", "full_clean"}:
            yield node.lineno, f"{node.name}() of a model holds logic: it belongs to an operation"


def wants_plain_operations(source: Source) -> Iterator[Finding]:
    """5: what operations.py offers is keyword-only and takes `now`."""
    if not re.fullmatch(r"webxen/\w+/operations\.py", source.path):
        return
    for node in source.tree.body:
        if not isinstance(node, Function) or node.name.startswith("_"):
            continue
        if node.args.args or node.args.posonlyargs:
            yield node.lineno, f"{node.name}() takes positional arguments: put `*` first"
        if "now" not in [argument.arg for argument in node.args.kwonlyargs]:
            yield node.lineno, f"{node.name}() does not take `now`"


CLOCKS = re.compile(
    r"(timezone\.(now|localtime|localdate)|datetime\.(datetime\.)?(now|utcnow|today)|date\.today|time\.time|clock\.now)"
)
#: the clock itself, and settings of Django that need a callable
MAY_READ_CLOCK = (*DOORS, "webxen/core/clock.py", "webxen/core/management/")


def leaves_clock_to_doors(source: Source) -> Iterator[Finding]:
    """5: only doors read the clock."""
    if not source.is_in("webxen/") or source.is_in(*MAY_READ_CLOCK) or "/management/" in source.path:
        return
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and CLOCKS.fullmatch(dotted(node)):
            yield node.lineno, f"{dotted(node)} is read inside a room: take `now` from the door"


#: modules that may write these fields, each by its own table of transitions
WRITERS = {
    "state": (
        "webxen/machines/lifecycle.py",
        "webxen/inventory/operations.py",
        "webxen/enrolment/joining.py",
    ),
    "status": ("webxen/jobs/status.py", "webxen/approvals/status.py", "webxen/quotas/operations.py"),
    "phase": ("webxen/migration/phases.py", "webxen/fleet/fencing.py"),
}
#: packages that display values under these names and write no rows
SHOWS = ("webxen/web/", "webxen/api/", "webxen/console/", "webxen/core/", "webxen/diagnostics/")


#: objects with a `state` that are not rows
NOT_ROWS: dict[str, str] = {
    "webxen/console/relay.py": "what a reader of one console stream knows of it, in memory only",
}


def keeps_state_in_one_place(source: Source) -> Iterator[Finding]:
    """6: `state`, `status` and `phase` are written in one place each, by a conditional UPDATE."""
    if not source.is_in("webxen/") or "/migrations/" in source.path or source.path in NOT_ROWS:
        return
    for node in source.nodes:
        names = set(_written_names(node)) | (set() if source.is_in(*SHOWS) else set(_keys(node)))
        for name in sorted(names):
            if name in WRITERS and not source.is_in(*WRITERS[name]):
                yield (
                    getattr(node, "lineno", 0),
                    f"{name} is written here; only {', '.join(WRITERS[name])} may",
                )


def _keys(node: ast.AST) -> Iterator[str]:
    """Names of columns in a dict that an UPDATE takes as `**columns`."""
    keys = node.keys if isinstance(node, ast.Dict) else []
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
        keys = [node.slice]
    for key in keys:
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield key.value


def _written_names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else dotted(node.func)
        if called == "update":
            yield from (keyword.arg for keyword in node.keywords if keyword.arg)
        if called in ("setattr", "bulk_update") and len(node.args) > 1:
            written = node.args[1:2] if called == "setattr" else ast.walk(node.args[1])
            yield from (str(arg.value) for arg in written if isinstance(arg, ast.Constant))
    targets = (
        node.targets
        if isinstance(node, ast.Assign)
        else [node.target]
        if isinstance(node, ast.AugAssign)
        else []
    )
    for target in targets:
        # self.state belongs to a plain object: rows have no self outside models.py
        if isinstance(target, ast.Attribute) and dotted(target.value) != "self":
            yield target.attr


def wants_one_on_commit(source: Source) -> Iterator[Finding]:
    """9: what happens after a commit goes through core.after_commit, which lets no error of it out."""
    if not _is_product(source) or source.path == "webxen/core/after_commit.py":
        return
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and node.attr == "on_commit":
            yield (
                node.lineno,
                "on_commit: an error in it would answer a request that is done; use after_commit.run",
            )


#: places where an exception of any kind may be caught, with the reason
BROAD_CATCHERS: dict[str, str] = {
    "webxen/inbox/reader.py": "the top of a process: a bug in one message must not end what hears all hosts",
    "webxen/core/after_commit.py": "the transaction is committed: an error afterwards must not be its answer",
    "webxen/jobs/rounds.py": "one job's or host's error must not end the round: logged, kept as a row, shown",
    "worker/agent/daemon.py": "the top of a thread: a bug in one order is logged and must not end the others",
    "devtools/fakexl/domain.py": "a domain's process has nobody above it: it writes the reason down and ends",
    "devtools/lab/portal.py": "a thread's error is handed to the main thread, which raises it",
    "worker/observe/observer.py": "the top of a thread: a bug is logged and must not end the jobs beside it",
    "worker/agent/executor.py": "answers for a bug in a verb: told as INTERNAL_ERROR, logged, cleaned up",
    "worker/observe/probe.py": "the top of a thread: its error is raised where the answer is waited for",
    "worker/agent/recovery.py": "the top of a thread: a bug in one job is logged and must not end the others",
    "worker/listener/tasks.py": "the top of a thread: a message that cannot be carried must not end it",
}


def wants_narrow_except(source: Source) -> Iterator[Finding]:
    """14: catch the narrowest class, at the one place that can answer."""
    if not _is_product(source):
        return
    for node in source.nodes:
        if not isinstance(node, ast.ExceptHandler):
            continue
        if node.type is None:
            yield node.lineno, "a bare except"
            continue
        caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        broad = {dotted(item) for item in caught} & {"Exception", "BaseException"}
        last = node.body[-1]
        if isinstance(last, ast.Raise) and last.exc is None:
            continue  # it only cleans up: the error is re-raised
        if broad and source.path not in BROAD_CATCHERS:
            yield (
                node.lineno,
                f"except {broad.pop()}: name what is expected, or list the file with its reason",
            )


STARTERS = re.compile(
    r"(subprocess(\..*)?|os\.(system|popen|exec\w+|spawn\w+|posix_spawnp?)|pty\.spawn"
    r"|asyncio\.(create_)?subprocess(_\w+)?)"
)
#: one per side: the portal starts only fence agents
MAY_START = ("worker/shell.py", "webxen/core/programs.py")


def keeps_programs_in_shell(source: Source) -> Iterator[Finding]:
    """16: other programs are started in one place a side alone, from a list, never by a shell."""
    if not source.is_in("webxen/", "worker/", "devtools/", "manage.py"):
        return
    if not source.is_in(*MAY_START):
        for line, name, _ in source.imports:
            if STARTERS.fullmatch(name):
                yield line, f"{name}: only {' and '.join(MAY_START)} start programs"
        for node in source.nodes:
            if isinstance(node, ast.Attribute) and STARTERS.fullmatch(dotted(node)):
                yield node.lineno, f"{dotted(node)}: only {' and '.join(MAY_START)} start programs"
    for node in source.nodes:
        if isinstance(node, ast.keyword) and node.arg == "shell" and not _is_false(node.value):
            yield node.value.lineno, "shell=: a list of words needs no shell"


def _is_false(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def wants_frozen_messages(source: Source) -> Iterator[Finding]:
    """17: every class of the contract but its exceptions is a frozen dataclass."""
    if not source.is_in("worker/contract/"):
        return
    for node in source.tree.body:
        if not isinstance(node, ast.ClassDef) or any(
            dotted(base).endswith(("Exception", "BadEnvelope")) for base in node.bases
        ):
            continue
        frozen = any(
            isinstance(mark, ast.Call)
            and dotted(mark.func).endswith("dataclass")
            and any(word.arg == "frozen" and not _is_false(word.value) for word in mark.keywords)
            for mark in node.decorator_list
        )
        if not frozen:
            yield node.lineno, f"{node.name} is not a frozen dataclass"


def wants_docstring(source: Source) -> Iterator[Finding]:
    """20: a module says what lives in it."""
    if not _is_product(source) and not source.is_in("tests/conventions/", ".ci/"):
        return
    if source.text.strip() and not ast.get_docstring(source.tree):
        yield 1, "no docstring: what lives here, and what may not?"


BANNED_CLASS = re.compile(r"(Manager|Helper|Util|Utils|Handler|Base|Mixin)(?=[A-Z]|$)")
BANNED_MODULE = re.compile(r"(^|/)(utils?|helpers?|misc|common|mixins?|managers?|handlers?)(\.py$|/)")


def wants_telling_names(source: Source) -> Iterator[Finding]:
    """21: no Manager, Helper, Util, Handler, Base, Mixin; no utils.py."""
    if not source.is_in("webxen/", "worker/", "devtools/", "tests/"):
        return
    if BANNED_MODULE.search(source.path):
        yield 1, "a file named after nothing in particular"
    for node in source.nodes:
        if isinstance(node, ast.ClassDef) and BANNED_CLASS.search(node.name):
            yield node.lineno, f"class {node.name}: name the thing, not its kind"


OURS = ("webxen.", "worker.", "devtools.")


def keeps_own_modules_unpatched(source: Source) -> Iterator[Finding]:
    """23: our own fakes; no mock.patch of our own modules. A CONSTANT may be made smaller."""
    if not source.is_in("tests/"):
        return
    ours = {bound for _, name, bound in source.imports if name.startswith(OURS)}
    for line, name, _ in source.imports:
        if name.startswith(("unittest.mock", "mock.")) or name == "mock":
            yield line, f"{name}: make a fake that could be wrong in its own right"
    for node in source.nodes:
        if not isinstance(node, ast.Call) or not dotted(node.func).endswith(
            (".setattr", ".setitem", ".patch")
        ):
            continue
        first = node.args[0] if node.args else None
        text = first.value if isinstance(first, ast.Constant) else None
        second = node.args[1] if len(node.args) > 2 else None
        if isinstance(second, ast.Constant) and isinstance(second.value, str) and second.value.isupper():
            continue
        is_ours = isinstance(text, str) and text.startswith(OURS)
        if is_ours or (first is not None and dotted(first).partition(".")[0] in ours):
            yield node.lineno, "patches a module of ours: give it what it needs as an argument"


def wants_reasons_to_skip(source: Source) -> Iterator[Finding]:
    """23: a test that does not run says why."""
    if not source.is_in("tests/"):
        return
    marks = ("mark.skip", "mark.skipif", "mark.xfail")
    called = {id(node.func) for node in source.nodes if isinstance(node, ast.Call)}
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and dotted(node).endswith(marks) and id(node) not in called:
            yield node.lineno, f"{dotted(node)} without a reason"
        if not isinstance(node, ast.Call):
            continue
        name, has_reason = dotted(node.func), any(word.arg == "reason" for word in node.keywords)
        if name.endswith(marks) and not has_reason:
            yield node.lineno, f"{name} without a reason"
        if name in {"pytest.skip", "pytest.xfail", "pytest.importorskip"} and not (node.args or has_reason):
            yield node.lineno, f"{name} without a reason"


def wants_named_migrations(source: Source) -> Iterator[Finding]:
    """26: a migration is named after its one purpose."""
    match = re.fullmatch(r"webxen/\w+/migrations/(\w+)\.py", source.path)
    if match and match[1] != "__init__" and not re.fullmatch(r"\d{4}_(?!auto_|initial$)[a-z0-9_]+", match[1]):
        yield 1, f"{match[1]}: makemigrations --name says what it is for"


#: long on purpose, each with its reason
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {
    "webxen/jobs/operations.py:create_machine": "a third of it is the keyword-only signature",
    "devtools/fakexl/printing.py:_entry": "one literal: the JSON that xl list -l prints for a domain",
}


def keeps_size_readable(source: Source) -> Iterator[Finding]:
    """A file over 400 lines or a function over 40 explains itself: split it, or list it with a reason."""
    if not _is_product(source):
        return
    lines = source.text.count("\n")
    if lines > MAX_FILE_LINES and source.path not in LONG_FILES:
        yield 1, f"{lines} lines"
    for node in source.nodes:
        if isinstance(node, Function):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES and f"{source.path}:{node.name}" not in LONG_FUNCTIONS:
                yield node.lineno, f"{node.name}() has {length} lines"


#: the one reader, and modules that set the settings module before Django starts
MAY_READ_ENVIRONMENT = ("webxen/env.py", "webxen/celery.py", "webxen/asgi.py")


def reads_environment_once(source: Source) -> Iterator[Finding]:
    """Settings come from webxen/env.py, so that docs/settings.md can be compared."""
    if not source.is_in("webxen/") or source.is_in(*MAY_READ_ENVIRONMENT):
        return
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and dotted(node) in {"os.environ", "os.getenv"}:
            yield node.lineno, "os.environ is read outside webxen/env.py"


#: packages whose rows belong to users
OWNED_ROOMS = ("machines", "jobs", "approvals")


def wants_visible_to(source: Source) -> Iterator[Finding]:
    """18: what belongs to somebody is read through visible_to(user)."""
    if source.path not in {f"webxen/{room}/queries.py" for room in OWNED_ROOMS}:
        return
    names = {node.name for node in source.tree.body if isinstance(node, Function)}
    names |= {
        target.id
        for node in source.tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    if "visible_to" not in names:
        yield 1, "no visible_to(user): a stranger would be shown what is not theirs"


#: API test files about nothing that belongs to a user; the pages are tested together
NO_STRANGER = ("tests/api/test_schema.py", "tests/api/test_problems_parsers.py")
EVERY_PAGE = "tests/web/test_strangers.py"


def wants_the_stranger(source: Source) -> Iterator[Finding]:
    """18: each test file of a door has charlie in it, who must get 404."""
    is_api = re.fullmatch(r"tests/api/test_\w+\.py", source.path) and source.path not in NO_STRANGER
    if (is_api or source.path == EVERY_PAGE) and "charlie" not in source.text:
        yield 1, "charlie, the stranger, is not tried here"


RULES: tuple[Rule, ...] = (
    keeps_doors_off_rows,
    keeps_signals_out,
    keeps_model_magic_out,
    keeps_save_plain,
    wants_plain_operations,
    leaves_clock_to_doors,
    keeps_state_in_one_place,
    wants_narrow_except,
    wants_one_on_commit,
    keeps_programs_in_shell,
    wants_frozen_messages,
    wants_docstring,
    wants_telling_names,
    keeps_own_modules_unpatched,
    wants_reasons_to_skip,
    wants_named_migrations,
    keeps_size_readable,
    reads_environment_once,
    wants_visible_to,
    wants_the_stranger,
)
