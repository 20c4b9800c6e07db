"""``python -m mailwright_dkim FILE``: the DNS records of its keys."""

from __future__ import annotations

import sys
from pathlib import Path

from mailwright_dkim.keys import DkimError
from mailwright_dkim.plugin import load


def main(arguments: list[str]) -> int:
    """Print a line per key."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m mailwright_dkim FILE\n")
        return 2
    try:
        signer = load(Path(arguments[0]))
    except DkimError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    for key in signer.keys:
        sys.stdout.write(f'{key.selector}._domainkey.{key.domain} TXT "{key.record}"\n')
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
