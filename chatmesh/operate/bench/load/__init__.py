"""The benchmark's client: a process of its own, cheap enough to keep up with what it measures.

While it is measured, a piece of bytes costs one append and one search; events are taken apart and checked afterwards.
`wire`, `events` and `checked` are pure, `reader` has the connections, the rest are the things that people do.
"""
