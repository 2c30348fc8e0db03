"""The crash test that ships with chatmesh: real processes of this very program, broken on purpose while people talk, and
everything that they were told checked against what was promised.

`plan` says who is hit and when, `world` has the processes, `talk` the people, `check` and `audit` judge, `report` tells.
"""

from chatmesh.operate.chaos.plan import Fault, Size
from chatmesh.operate.chaos.report import Report, details, rows, verdict
from chatmesh.operate.chaos.run import Progress, Settings, run

__all__ = ["Fault", "Progress", "Report", "Settings", "Size", "details", "rows", "run", "verdict"]
