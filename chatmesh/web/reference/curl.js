// An operation as a line for a terminal, which can be run as it is.

const IDS = { session_id: "my-session", message_id: "m1", model: "echo", response_id: "RESPONSE_ID" };

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export function curl(origin, method, path, operation) {
  const { requestBody, responses, security } = operation;
  const isStream = "text/event-stream" in (responses["200"]?.content ?? {});
  const body = requestBody?.content["application/json"].example;
  const address = origin + path.replace(/{(\w+)}/g, (_, name) => IDS[name] ?? name);
  return [
    `curl -s${isStream ? "N" : ""}${method === "get" ? "" : ` -X ${method.toUpperCase()}`} ${quoted(address)}`,
    // The same call either answers at once or streams: this one streams.
    ...(isStream && "202" in responses ? [`-H ${quoted("Accept: text/event-stream")}`] : []),
    ...(security ? ['-H "Authorization: Bearer $CHATMESH_TOKEN"'] : []),
    ...(body ? [`-H ${quoted("Content-Type: application/json")}`, `-d ${quoted(JSON.stringify(body))}`] : []),
  ].join(" \\\n  ");
}
