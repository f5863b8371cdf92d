"""Provider keys that come in by the environment, and the environment that child processes get. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from keyrail.keys.secret import Secret

ALLOWED: Final = frozenset(
    {"PATH", "HOME", "LANG", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"}
)
ALLOWED_PREFIXES: Final = ("LC_", "KEYRAIL_")
_KEY_SUFFIX: Final = "_API_KEY"


def found(environ: Mapping[str, str], names: Mapping[str, str]) -> dict[str, Secret]:
    """Provider keys in `environ`, by provider. `names` says which variable belongs to which provider.

    Blank values do not count. Of two variables of one provider, the one that comes first in `names` wins.
    """
    keys: dict[str, Secret] = {}
    for name, provider in names.items():
        value = environ.get(name, "").strip()
        if value and provider not in keys:
            keys[provider] = Secret(value)
    return keys


def scrubbed(
    environ: Mapping[str, str], *prefixes: str, provider_keys: Collection[str] = ()
) -> dict[str, str]:
    """The environment for a child process: what is allowed by name, by ALLOWED_PREFIXES or by `prefixes`.

    Never passed on, whatever the prefixes allow: variables named in `provider_keys`, variables whose name
    ends in _API_KEY, and variables that hold the value of one of these under another name.
    """
    refused = {name for name in environ if name in provider_keys or name.upper().endswith(_KEY_SUFFIX)}
    values = {environ[name].strip() for name in refused} - {""}
    allowed = ALLOWED_PREFIXES + prefixes
    return {
        name: value
        for name, value in environ.items()
        if name not in refused
        and (name in ALLOWED or name.startswith(allowed))
        and value.strip() not in values
    }
