"""Contracts: subclass one in a test module, name the plugin, and get the tests that every plugin of its kind must pass.

from mailwright.testing.contracts import ProviderContract
import mailwright_example

class TestExample(ProviderContract):
plugin = mailwright_example
"""

from mailwright.testing.contracts.attachment import AttachmentContract
from mailwright.testing.contracts.auth import AuthContract
from mailwright.testing.contracts.hooks import HooksContract
from mailwright.testing.contracts.plugin import PluginContract
from mailwright.testing.contracts.provider import ProviderContract
from mailwright.testing.contracts.running import CANARY, leaks, run
from mailwright.testing.contracts.secret import SecretSchemeContract
from mailwright.testing.contracts.settings import SettingsContract, settings_documents
from mailwright.testing.contracts.transport import TransportContract
from mailwright.testing.queue_contracts import DispatcherContract, LedgerContract

__all__ = [
    "CANARY",
    "AttachmentContract",
    "AuthContract",
    "DispatcherContract",
    "HooksContract",
    "LedgerContract",
    "PluginContract",
    "ProviderContract",
    "SecretSchemeContract",
    "SettingsContract",
    "TransportContract",
    "leaks",
    "run",
    "settings_documents",
]
