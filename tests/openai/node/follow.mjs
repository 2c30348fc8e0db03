// Streams what the model `count` says in a session: one JSON line for each piece of text, and `null` at the end. Arguments: the
// pod's URL, the package, the session, and how far to count.
const [url, sdk, session, tokens] = process.argv.slice(2);
const { default: OpenAI } = await import(sdk);

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
const stream = await client.chat.completions.create(
  { model: "count", max_tokens: Number(tokens), messages: [{ role: "user", content: "go" }], stream: true },
  { headers: { "X-Session-Id": session } },
);
for await (const chunk of stream) console.log(JSON.stringify(chunk.choices[0].delta.content ?? ""));
console.log("null");
