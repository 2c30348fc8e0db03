// Opens `url` with an EventSource of whatever make, and says all that it hears.
export function watch(EventSource, url, say, options) {
  const source = new EventSource(url, options);
  for (const type of ["open", "message", "reset", "drain", "error"]) {
    source.addEventListener(type, (event) => {
      say({ type, data: event.data, id: event.lastEventId, state: source.readyState });
    });
  }
  return source;
}
