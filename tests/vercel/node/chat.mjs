// A chat of the Vercel AI SDK without a page. The first argument is JSON: {sdk, api, id, messages, body, steps}. A step
// is "text to say" or {"resume": true}. One JSON line for every change, and one with `done` behind each step.
const { sdk, api, id, messages = [], body = {}, steps } = JSON.parse(process.argv[2]);
const { AbstractChat, DefaultChatTransport } = await import(sdk);

class State {
  #messages = messages;
  status = "ready";
  error = undefined;
  get messages() {
    return this.#messages;
  }
  set messages(messages) {
    this.#messages = messages;
    tell(false);
  }
  pushMessage = (message) => (this.messages = [...this.messages, message]);
  popMessage = () => (this.messages = this.messages.slice(0, -1));
  replaceMessage = (index, message) => (this.messages = this.messages.with(index, message));
  snapshot = (value) => structuredClone(value);
}

class Chat extends AbstractChat {
  constructor(state) {
    super({ id, state, transport: new DefaultChatTransport({ api, body }), onFinish: (end) => (last = end) });
  }
}

let last = {};
const state = new State();
const chat = new Chat(state);

function tell(done) {
  const error = state.error?.message;
  const { isAbort, isDisconnect, isError, finishReason } = last;
  const end = { isAbort, isDisconnect, isError, finishReason };
  console.log(JSON.stringify({ done, status: state.status, error, messages: state.messages, end }));
}

for (const step of steps) {
  last = {};
  await (typeof step === "string" ? chat.sendMessage({ text: step }) : chat.resumeStream());
  tell(true);
}
