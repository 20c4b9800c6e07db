"""The plugin host: what is installed, loaded one by one; who has which name; what to say of a name that nobody has."""

from mailwright.registry.claims import PluginInfo, PluginStatus
from mailwright.registry.host import Registry, default_registry, hand_in, hookimpl

__all__ = ["PluginInfo", "PluginStatus", "Registry", "default_registry", "hand_in", "hookimpl"]
