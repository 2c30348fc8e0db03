"""What stands on a wire: any good value survives it, and nothing else gets in."""
