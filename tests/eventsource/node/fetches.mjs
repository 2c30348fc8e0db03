// What npm's eventsource is given as `fetch` where callers are told apart; docs/security.md shows it.
export const withToken = (token) => (url, init) =>
  fetch(url, { ...init, headers: { ...init.headers, Authorization: `Bearer ${token}` } });

export function withCookie() {
  let cookie;
  return async (url, init) => {
    const headers = cookie === undefined ? init.headers : { ...init.headers, Cookie: cookie };
    const response = await fetch(url, { ...init, headers });
    cookie = response.headers.getSetCookie()[0]?.split(";")[0] ?? cookie;
    return response;
  };
}
