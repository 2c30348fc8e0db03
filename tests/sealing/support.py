"""Key rings for tests, and what a sealed mesh is told."""

from __future__ import annotations

from pathlib import Path

from chatmesh.protocol.keyring import KeyRing, new_key, parse_ring, render_ring, with_key

NOW = "2026-11-26T00:00:00.000Z"


def ring_of(keys: int = 1) -> KeyRing:
    """The last key is current."""
    ring = with_key(None, new_key(NOW), is_current=True)
    for _ in range(keys - 1):
        ring = with_key(ring, new_key(NOW), is_current=True)
    return ring


def write_ring(path: Path, ring: KeyRing) -> Path:
    path.write_text(render_ring(ring))
    return path


def read_ring(path: Path) -> KeyRing:
    return parse_ring(path.read_text(), str(path))


def sealed(path: Path) -> str:
    return f"sealing.key_ring={path}"
