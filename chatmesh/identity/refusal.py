"""Why a caller is not known."""

from __future__ import annotations

from chatmesh.errors import ChatmeshError


class NotKnownError(ChatmeshError):
    """What was sent does not say who is calling. The text has nothing of what was sent."""
