"""Result of a burn-in: its steps and statistics. Pure."""

import statistics
from dataclasses import dataclass

from webxen.diagnostics.findings import align, printable


@dataclass(frozen=True)
class Step:
    """One verb on one machine; `failure` is empty on success."""

    machine: str
    verb: str
    seconds: float
    failure: str = ""


@dataclass(frozen=True)
class Result:
    host: str
    steps: tuple[Step, ...]
    #: findings of verify after the run
    found: tuple[str, ...] = ()
    #: machines that could not be deleted
    left: tuple[str, ...] = ()
    is_interrupted: bool = False

    @property
    def failures(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.failure)

    @property
    def has_passed(self) -> bool:
        return bool(self.steps) and not (self.failures or self.found or self.left or self.is_interrupted)

    @property
    def summary(self) -> str:
        if self.is_interrupted:
            end = f"stopped after {len(self.steps)} steps"
        elif self.has_passed:
            end = f"passed: {len(self.steps)} steps, verify is clean"
        else:
            failed = f"{len(self.failures)} of {len(self.steps)} steps failed"
            end = f"NOT passed: {failed}, verify has {len(self.found)} findings"
        kept = f"; left behind: {', '.join(self.left)}" if self.left else ""
        return f"Burn-in of {self.host} {end}{kept}."

    def verbs(self) -> list[tuple[str, int, int, float, float]]:
        """Return verb, count, failures, and median and longest seconds of successful steps."""
        rows = []
        for verb in dict.fromkeys(step.verb for step in self.steps):
            steps = [step for step in self.steps if step.verb == verb]
            good = [step.seconds for step in steps if not step.failure] or [0.0]
            failed = sum(bool(step.failure) for step in steps)
            rows.append((verb, len(steps), failed, statistics.median(good), max(good)))
        return rows

    def as_text(self) -> str:
        table = [("VERB", "COUNT", "FAILED", "MEDIAN", "LONGEST", "")]
        table += [
            (verb, str(count), str(failed), f"{median:.2f} s", f"{longest:.2f} s", "")
            for verb, count, failed, median, longest in self.verbs()
        ]
        told = [f"{step.machine} {step.verb}: {step.failure}" for step in self.failures]
        lines = [*(align(table) if self.steps else []), *told, *(f"verify: {said}" for said in self.found)]
        return "\n".join([*map(printable, lines), "", self.summary])

    def as_json(self) -> dict[str, object]:
        return {
            "host": self.host,
            "passed": self.has_passed,
            "interrupted": self.is_interrupted,
            "verbs": [
                {"verb": verb, "count": count, "failed": failed, "median": median, "longest": longest}
                for verb, count, failed, median, longest in self.verbs()
            ],
            "failures": [
                {"machine": step.machine, "verb": step.verb, "why": step.failure} for step in self.failures
            ],
            "findings": list(self.found),
            "left_behind": list(self.left),
        }
