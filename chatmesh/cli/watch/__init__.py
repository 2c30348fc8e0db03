"""Looking at a mesh that runs: `ps`, `sessions`, `queue`, `tail`, `top`."""
