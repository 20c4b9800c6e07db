"""Who offers which name: what is built in keeps its own, outsiders that claim the same one have a dispute."""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

from attrs import define, evolve, field, frozen

from mailwright.errors import PluginError
from mailwright.registry.found import HOME
from mailwright.vetting import Kind

PluginStatus = Literal["active", "disabled", "not allowed", "broken"]
GIVEN: Final = "handed in"


@frozen(kw_only=True)
class PluginInfo:
    """One plugin as ``mailwright plugins`` shows it.

    Attributes:
        name: Its entry point's name.
        distribution: The installed distribution it came with, or where it was handed in.
        version: Of the distribution.
        status: active, disabled, not allowed or broken.
        reason: Why it was left out, and what to do.
        adds: What it brings, as ``provider gmail`` or ``hook before_send``.
        load_ms: Time to import and check it, in milliseconds.
    """

    name: str
    distribution: str
    version: str = ""
    status: PluginStatus = "active"
    reason: str = ""
    adds: tuple[str, ...] = ()
    load_ms: float = 0.0


@define
class Entry:
    """Who offers a name: one owner, or a dispute between outsiders. An alias' record is the name it stands for."""

    record: Any
    owner: PluginInfo
    rivals: list[PluginInfo] = field(factory=list)

    def undisputed(self, what: str) -> Any:
        """The record.

        Raises:
            PluginError: Names those who claim it.
        """
        if not self.rivals:
            return self.record
        claims = [self.owner, *self.rivals]
        owners = " and ".join(f"{info.distribution} (plugin {info.name})" for info in claims)
        names = [info.name for info in claims]
        by_distribution = [info.distribution for info in claims if info.distribution != GIVEN]
        choices = names if len(set(names)) == len(names) else by_distribution
        fix = f"disable one (mailwright plugins disable {' or '.join(choices)}), or uninstall it"
        raise PluginError(f"{what} is claimed by {owners}: {fix}")


def spelling(name: str) -> str:
    """As names of services are compared: Nodemailer's rule, so that its spellings resolve."""
    return "".join(char for char in name.lower() if char.isascii() and (char.isalnum() or char in ".-"))


class Claims:
    """Every plugin, and the names that each has or disputes."""

    def __init__(self) -> None:
        self.infos: dict[str, PluginInfo] = {}
        self.records: dict[Kind, dict[str, Entry]] = {kind: {} for kind in get_args(Kind)}
        self.aliases: dict[str, Entry] = {}

    def enter(self, info: PluginInfo) -> str:
        """One more plugin; its key."""
        key = f"{info.distribution}:{info.name}:{len(self.infos)}"
        self.infos[key] = info
        return key

    def claim(self, kind: Kind, name: str, record: Any, key: str) -> None:
        """Give a name to the plugin that asks for it, or note the dispute."""
        if kind == "provider":
            for alias in {spelling(alias) for alias in (*record.aliases, *record.domains)}:
                self._claim_one(self.aliases, alias, name, key, f"provider {alias}", same=name)
        self._claim_one(self.records[kind], name, record, key, f"{kind} {name}")

    def _claim_one(
        self, entries: dict[str, Entry], name: str, record: Any, key: str, what: str, *, same: object = None
    ) -> None:
        info, entry = self.infos[key], entries.get(name)
        if entry is None:
            entries[name] = Entry(record, info)
        elif entry.owner.distribution == HOME:
            if info.distribution != HOME:
                self._note(key, f"{what} is built in and stays so")
        elif same is None or entry.record != same:
            entry.rivals.append(info)
            for rival in (entry.owner, *entry.rivals):
                others = [other for other in (entry.owner, *entry.rivals) if other is not rival]
                names = " and ".join(f"{other.name} ({other.distribution})" for other in others)
                self._note(
                    self._key_of(rival), f"{what} is claimed by {names}, too: nobody has it until one is disabled"
                )

    def _key_of(self, info: PluginInfo) -> str:
        return next(
            key
            for key, known in self.infos.items()
            if (known.distribution, known.name) == (info.distribution, info.name)
        )

    def _note(self, key: str, text: str) -> None:
        info = self.infos[key]
        if text not in info.reason:
            self.infos[key] = evolve(info, reason="; ".join(filter(None, (info.reason, text))))
