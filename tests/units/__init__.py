"""What decides: every module that is pure, or nearly so. No broker, no socket, and no time passes."""
