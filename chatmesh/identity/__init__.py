"""Who is calling: API keys and tokens become a Caller.

In: what a request carries. Out: a caller, or NotKnownError. Knows no HTTP but for fetching an issuer's keys.
"""

from chatmesh.identity.api_keys import ApiKey, mint, parse_keys, render_keys
from chatmesh.identity.key_file import KeyFile
from chatmesh.identity.links import Links
from chatmesh.identity.refusal import NotKnownError
from chatmesh.identity.signing_keys import FetchedKeys, FixedKey, SigningKeys
from chatmesh.identity.tokens import Tokens, TokenSettings, make_token

__all__ = [
    "ApiKey",
    "FetchedKeys",
    "FixedKey",
    "KeyFile",
    "Links",
    "NotKnownError",
    "SigningKeys",
    "TokenSettings",
    "Tokens",
    "make_token",
    "mint",
    "parse_keys",
    "render_keys",
]
