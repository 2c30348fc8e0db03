"""`chatmesh chat` and `chatmesh send`: somebody at a terminal, or a pipe, talks to a mesh over HTTP."""
