"""An operator's verbs on many rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from attrs import evolve

from mailwright.spi import JobState, JobVerb, Ledger, Selection

_PAGE = 500
FITS: Final[Mapping[JobVerb, tuple[JobState, ...]]] = MappingProxyType({
    "retry": ("failed", "partial", "held", "quarantined", "cancelled", "unknown"),
    "cancel": ("scheduled", "queued", "held", "unknown"),
    "hold": ("scheduled", "queued"),
    "release": ("held",),
    "purge": ("sent", "partial", "failed", "cancelled", "quarantined"),
})  # fmt: skip
"""States that a verb is for; see `mailwright.spi.Ledger.change`."""


async def change(ledger: Ledger, verb: JobVerb, chosen: Selection, ids: Sequence[str]) -> int:
    """Apply a verb to these ids, or, without any, to all that are chosen; how many it fitted."""
    found = 0
    if ids:
        for start in range(0, len(ids), _PAGE):
            found += await ledger.change(evolve(chosen, ids=tuple(ids[start : start + _PAGE])), verb)
    else:
        while changed := await _change_all(ledger, chosen, verb):  # others may have come meanwhile
            found += changed
    return found


async def _change_all(ledger: Ledger, chosen: Selection, verb: JobVerb) -> int:
    """State by state and page by page, so that the last of a million costs what the first did."""
    found = 0
    for state in FITS[verb]:
        last = None
        while not chosen.states or state in chosen.states:
            page = await ledger.page(evolve(chosen, states=(state,)), limit=_PAGE, before=last)
            if not page:
                break
            last = page[-1].id
            listed = evolve(chosen, ids=tuple(job.id for job in page), tag=None)  # tags never change
            found += await ledger.change(listed, verb)
    return found
