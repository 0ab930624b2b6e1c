"""Console output as readable lines for the report of a job: as a terminal shows it, without repetitions.

The host takes the last lines of a log; the portal applies it to what any host has sent.
"""

import re

LINES = 40
LINE_CHARACTERS = 400
ESCAPE = re.compile(
    r"(?P<erase>\x1b\[[0-2]?[KJ])"
    r"|\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[()][0-9A-Za-z]|[@-Z\\-_])"
)
CONTROL = re.compile(r"[^\n\t\x20-\x7e\xa0-\uffff]")
#: systemd's “[  *** ] (1 of 2) Job dev-hvc0.device/start running (5s / 1min 30s)”, drawn repeatedly
SPINNER_MARK = re.compile(r"^(?:\[[ *]{3,8}\] )?(?:\(\d+ of \d+\) )?")
SPINNER = re.compile(r"\[[ *]{3,8}\] \S|(?:\(\d+ of \d+\) )?(?:Job \S+ running|A \w+ job is running for) ")
#: a message that the kernel repeats has a different time before it
KERNEL_TIME = re.compile(r"^\[ *\d+\.\d+\] ")
NUMBER = re.compile(r"\d+")
#: how an earlier call marked a repeated line
TIMES = re.compile(r" \(×(\d+)\)$")


def readable_console(text: str, *, lines: int = LINES) -> str:
    """The last `lines` lines, without escape sequences.

    Frames of a spinner and repeated lines are shown once.
    """
    shown = [_draw(line).rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    folded = _fold([line[:LINE_CHARACTERS] for line in shown if line])
    return "\n".join(folded[-lines:])


def _draw(line: str) -> str:
    """What a terminal shows of a line: text after a carriage return overwrites it."""
    drawn = ""
    for part in line.split("\r"):
        is_erased = any(hit["erase"] for hit in ESCAPE.finditer(part))
        # cut first: a line drawn over a thousand times costs a thousand short copies
        plain = CONTROL.sub("", ESCAPE.sub("", part))[:LINE_CHARACTERS]
        drawn = plain if is_erased else plain + drawn[len(plain) :]
    return drawn


def _fold(lines: list[str]) -> list[str]:
    """One line for each run of equal lines, and the last frame of each job that a spinner shows in turn."""
    folded: list[str] = []
    frames: dict[str, str] = {}
    for line in lines:
        if SPINNER.match(line):
            # the last frame is placed where it was drawn last
            key = NUMBER.sub("#", SPINNER_MARK.sub("", line))
            frames.pop(key, None)
            frames[key] = line
            continue
        folded += frames.values()
        frames.clear()
        _add(folded, line)
    return [*folded, *frames.values()]


def _add(folded: list[str], line: str) -> None:
    bare, count = _counted(line)
    before, times = _counted(folded[-1]) if folded else ("", 0)
    if KERNEL_TIME.sub("", bare) == KERNEL_TIME.sub("", before):
        folded[-1] = f"{bare} (×{times + count})"
    else:
        folded.append(line)


def _counted(line: str) -> tuple[str, int]:
    hit = TIMES.search(line)
    return (line[: hit.start()], int(hit[1])) if hit else (line, 1)
