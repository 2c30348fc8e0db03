"""What an attacker sends, byte by byte, at every door of a pod: refused in the door's own words, and nothing of it on NATS."""
