// Scrolls with the text, but only for a reader who is at its end.

/** Returns a function that goes to the end, and stays there. */
export function followEnd(...elements) {
  let isAtEnd = true;
  let lastY = 0;

  addEventListener("scroll", () => {
    const left = document.documentElement.scrollHeight - innerHeight - scrollY;
    if (left < 2) isAtEnd = true;
    else if (scrollY < lastY) isAtEnd = false;
    else if (left < 40) isAtEnd = true;
    lastY = scrollY;
  }, { passive: true });

  const observer = new ResizeObserver(() => {
    if (isAtEnd) scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
  });
  elements.forEach((element) => observer.observe(element));
  return () => (isAtEnd = true);
}
