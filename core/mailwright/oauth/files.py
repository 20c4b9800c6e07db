"""Where tokens are kept: a folder of files only their owner can read, or memory."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from mailwright.errors import SecretError

VARIABLE: Final = "MAILWRIGHT_TOKENS"
_PRIVATE: Final = 0o077


def default_folder() -> Path:
    """``MAILWRIGHT_TOKENS``, else ``tokens`` in the user's state folder."""
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser()
    import platformdirs  # noqa: PLC0415 - only where tokens are kept

    return platformdirs.user_state_path("mailwright") / "tokens"


class MemoryTokenStore:
    """Tokens of this process only; not for refresh tokens that are replaced."""

    writable = False

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    async def load(self, key: str) -> str | None:
        """The text under a key."""
        return self._texts.get(key)

    async def compare_and_swap(self, key: str, old: str | None, new: str | None) -> bool:
        """Replace what is still there."""
        if self._texts.get(key) != old:
            return False
        if new is None:
            self._texts.pop(key, None)
        else:
            self._texts[key] = new
        return True


class FileTokenStore:
    """One file a token, mode 0600; written beside, synced to disk, then renamed.

    Args:
        folder: Made when first needed, mode 0700; None: `default_folder`.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = Path(folder) if folder is not None else default_folder()

    @property
    def writable(self) -> bool:
        """Whether tokens can be kept."""
        try:
            self._prepare()
        except OSError:
            return False
        return os.access(self.folder, os.W_OK | os.X_OK)

    async def load(self, key: str) -> str | None:
        """The text under a key. Raises `SecretError` for a file that others can read."""
        return await asyncio.to_thread(self._load, key)

    async def compare_and_swap(self, key: str, old: str | None, new: str | None) -> bool:
        """Replace what is still there; on disk when it returns. Raises `OSError`."""
        async with self._locked(self.folder / ".swap.lock"):
            return await asyncio.to_thread(self._swap, key, old, new)

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncIterator[None]:
        """One renewal at a time, over tasks, threads and processes; a process that dies lets go."""
        async with self._locked(self._path(key).with_suffix(".lock")):
            yield

    def keys(self) -> list[str]:
        """Everything that is kept."""
        found = []
        for path in sorted(self.folder.glob("*.json")):
            with suppress(ValueError, KeyError, OSError):
                found.append(str(json.loads(path.read_text(encoding="utf-8"))["key"]))
        return found

    def _path(self, key: str) -> Path:
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}.json"

    @asynccontextmanager
    async def _locked(self, path: Path) -> AsyncIterator[None]:
        from filelock import AsyncFileLock  # noqa: PLC0415 - only where tokens are kept

        await asyncio.to_thread(self._prepare)
        async with AsyncFileLock(path, mode=0o600, thread_local=False, poll_interval=0.02):
            yield

    def _prepare(self) -> None:
        if not self.folder.is_dir():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _load(self, key: str) -> str | None:
        path = self._path(key)
        try:
            with path.open("rb") as file:
                if os.name == "posix" and os.fstat(file.fileno()).st_mode & _PRIVATE:
                    msg = f"{path}: others can read this token; run: chmod 600 {path}, and log in again"
                    raise SecretError(msg)
                found = json.loads(file.read(1 << 20))
        except FileNotFoundError:
            return None
        except ValueError:
            return None  # not ours, or half a disk: the credential itself is used
        return str(found["text"]) if isinstance(found, dict) and found.get("key") == key else None

    def _swap(self, key: str, old: str | None, new: str | None) -> bool:
        if self._load(key) != old:
            return False
        path = self._path(key)
        if new is None:
            path.unlink(missing_ok=True)
            return True
        handle, name = tempfile.mkstemp(dir=self.folder, prefix=".new-")  # 0600 whatever the umask
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({"key": key, "text": new}, file)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        self._sync_folder()
        return True

    def _sync_folder(self) -> None:
        if os.name != "posix":
            return
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
