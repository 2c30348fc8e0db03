"""`python -m chatmesh_server` is the `chatmesh` command."""

from chatmesh_server import main

if __name__ == "__main__":
    raise SystemExit(main())
