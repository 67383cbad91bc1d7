"""Several problems told at once, so that a form or file is put right in one go."""

from collections.abc import Sequence

from shared.refusal import Refusal

MAX_PROBLEMS = 200
"""Of a form or file with more, the first are told and all are counted."""


def together(code: str, what: str, problems: Sequence[Refusal]) -> Refusal:
    """Several problems as one refusal: the first in the sentence, all in ``data.problems`` (the first 200)."""
    first = problems[0]
    more = f"; {len(problems) - 1} more" if len(problems) > 1 else ""
    return Refusal(
        code=code,
        sentence=f"{what}: {first.sentence}{more}",
        field=first.field,
        data={
            "problems": [problem.model_dump(mode="json") for problem in problems[:MAX_PROBLEMS]],
            "count": len(problems),
        },
    )
