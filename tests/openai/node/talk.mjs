// Says on one line of JSON what the SDK got of the pod whose URL is the first argument. The second one names the package.
const { default: OpenAI } = await import(process.argv[3]);

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "none" });
const messages = [{ role: "user", content: "one two three" }];
const headers = { "X-Session-Id": "node" };

const models = [];
for await (const model of client.models.list()) models.push(model.id);

const whole = await client.chat.completions.create({ model: "echo", messages }, { headers });

let streamed = "";
let usage = null;
const stream = await client.chat.completions.create(
  { model: "count", max_tokens: 5, messages, stream: true, stream_options: { include_usage: true } },
  { headers },
);
for await (const chunk of stream) {
  streamed += chunk.choices[0]?.delta.content ?? "";
  usage = chunk.usage ?? usage;
}

const runner = client.chat.completions.runTools({
  model: "calling",
  messages,
  tools: [
    {
      type: "function",
      function: {
        name: "weather",
        parameters: { type: "object" },
        parse: JSON.parse,
        function: ({ city }) => `rain in ${city}`,
      },
    },
  ],
}, { maxChatCompletions: 1 });
let result = null;
runner.on("functionToolCallResult", (content) => { result = content; });
await runner.done().catch(() => {});

const failure = await client.chat.completions.create({ model: "nobody", messages }).catch((error) => error);

console.log(JSON.stringify({
  models,
  whole: whole.choices[0].message.content,
  streamed,
  usage,
  result,
  failure: [failure.constructor.name, failure.status, failure.code, failure.param],
}));
