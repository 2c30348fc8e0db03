"""The section `sealing`: payloads are encrypted before they are published."""

from __future__ import annotations

from pydantic import Field

from chatmesh.config.section import File, Flag, Section


class SealingConfig(Section):
    """Operators of the broker see sizes and times, and no text. The same on every pod and worker."""

    key_ring: File | None = Field(
        default=None,
        description="File of keys that `chatmesh keyring` writes; with it everything that has text is sealed.",
    )
    accept_clear: Flag = Field(
        default=False,
        description="true: what is not sealed is taken all the same, such as what was said before there was a key ring.",
    )
