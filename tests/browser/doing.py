"""What tests of the chat page do in a tab beside talking."""

from __future__ import annotations

import json

from tests.browser.chromium import Tab
from tests.support.waiting import eventually

LAST = "[...document.querySelectorAll('.turn')].at(-1)"

MARKDOWN = """\
## A *heading*

1. one `two`
2. **three**

```js
let a = "<b>";
```

| a | b |
|---|--:|
| 1 | 2 |

> said [here](https://example.org/x "there") and &amp; there

<img src=x onerror="window.isHurt = true"><script>window.isHurt = true</script>

![a picture](https://example.org/spy.png) [click](javascript:window.isHurt=true) <b onclick="window.isHurt=true">bold</b>

[data](data:text/html,<script>alert(1)</script>) ~~gone~~
"""


async def click(tab: Tab, selector: str) -> None:
    await tab.evaluate(f"document.querySelector({json.dumps(selector)}).click()")


async def is_shown(tab: Tab, expression: str) -> bool:
    return bool(await tab.evaluate(expression))


async def wait(tab: Tab, expression: str) -> None:
    await eventually(lambda: is_shown(tab, expression), message=expression, timeout=20)
