"""The benchmark that ships with chatmesh: real processes, a client of its own, every chunk checked.

`scenarios` says what is measured and what is to be reached, `served` has the processes, `load` is the client's process,
`measure` reads the clocks, `growth` watches memory, `results` makes figures of them; `tables`, `report`, `compare` and
`beside` show these.
"""

from chatmesh.operate.bench import beside, compare, tables
from chatmesh.operate.bench.results import Line, Result
from chatmesh.operate.bench.run import Progress, Settings, bench
from chatmesh.operate.bench.scenarios import BY_NAME, SCENARIOS, Scenario

__all__ = [
    "BY_NAME",
    "SCENARIOS",
    "Line",
    "Progress",
    "Result",
    "Scenario",
    "Settings",
    "bench",
    "beside",
    "compare",
    "tables",
]
