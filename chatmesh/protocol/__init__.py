"""What stands on a wire: identifiers, subjects, messages, transcript records, positions, SSE events.

In: bytes and text from outside. Out: frozen values, and bytes to send. Everything here is a pure function; nothing
reads a clock, a socket or a configuration. What has the wrong shape raises `ProtocolError` and changes nothing.
"""
