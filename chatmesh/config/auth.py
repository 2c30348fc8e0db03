"""The section `auth`: who may call, and what proves it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, WithJsonSchema

from chatmesh.config.auth_rules import FAMILIES
from chatmesh.config.section import (
    Amount,
    File,
    Flag,
    Line,
    Seconds,
    Section,
    Wants,
    not_empty,
    one_or_more,
    split_commas,
)

Algorithm = Literal["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA"]

Algorithms = Annotated[
    tuple[Algorithm, ...],
    BeforeValidator(split_commas),
    WithJsonSchema(one_or_more({"enum": list(FAMILIES)})),
    AfterValidator(not_empty),
    Wants("algorithms of one family, such as RS256"),
]


class JwtConfig(Section):
    """Tokens of `auth.mode: jwt`. Their claims `exp`, `sub`, `iss` and `aud` have to be there; `sub` is the user."""

    algorithms: Algorithms = Field(
        default=("RS256",),
        description="The only ones that are accepted, of one family: HS, RS, ES with 256, 384, 512, or EdDSA.",
    )
    issuer: Line | None = Field(default=None, description="What `iss` has to be.")
    audience: Line | None = Field(default=None, description="What `aud` has to be, or to have among others.")
    secret: SecretStr | None = Field(
        default=None, description="Shared secret of the HS family, 32 bytes at least."
    )
    secret_file: File | None = Field(default=None, description="File with the secret, instead of secret.")
    public_key_file: File | None = Field(default=None, description="The issuer's public key, PEM.")
    jwks_url: Line | None = Field(
        default=None, description="Where the issuer's keys are (JWKS), https or http."
    )
    jwks_refresh_seconds: Seconds = Field(
        default=3600, description="How long fetched keys are used before they are fetched again, in seconds."
    )
    tenant_claim: Line = Field(default="tenant", description="The claim that names the tenant.")
    tenant: Line | None = Field(
        default=None, description="Tenant of a token without that claim; null: such a token is refused."
    )
    scope_claim: Line = Field(
        default="scope", description="The claim with the scopes chat, read, operate: text or a list."
    )
    leeway_seconds: Annotated[Amount, Field(ge=0, le=300)] = Field(
        default=10, description="How far the issuer's clock may be off, in seconds."
    )


class AuthConfig(Section):
    """Who may call. Without it (`mode: none`) anybody who reaches the address may read and write every session."""

    mode: Literal["none", "api_keys", "jwt"] = Field(
        default="none", description="none: nobody is asked; on loopback only, unless allow_anonymous."
    )
    allow_anonymous: Flag = Field(
        default=False,
        description="true: mode none on any address, where a gateway in front asks who is calling, or nobody else reaches it.",
    )
    keys_file: File | None = Field(
        default=None, description="API keys of mode api_keys, hashed; `chatmesh keys` writes it."
    )
    jwt: JwtConfig = Field(default_factory=JwtConfig, description="Tokens of mode jwt.")
    secret: SecretStr | None = Field(
        default=None,
        description="What tickets and shared links are signed with, the same for all pods; 32 bytes at least. null: there are none.",
    )
    secret_file: File | None = Field(default=None, description="File with the secret, instead of secret.")
    open_metrics: Flag | None = Field(
        default=None,
        description="Whether /metrics asks nobody; null: on loopback it does not, elsewhere it wants the scope operate.",
    )
